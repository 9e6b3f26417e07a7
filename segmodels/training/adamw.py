"""AdamW whose step is one operation per weight on TensorFlow.

Keras composes it of about fifteen, each of which goes through memory: with millions of weights that takes
longer on CPUs than some of the convolutions. The formula is the same.
"""

from __future__ import annotations

from typing import Any

import keras


class AdamW(keras.optimizers.AdamW):
    """Keras' AdamW, quicker on TensorFlow; settings, variables and numbers are its own."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves one weight and its moments."""
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        place = self._get_variable_index(variable)
        values = (variable, self._momentums[place], self._velocities[place])
        var, m, v = (getattr(x, "value", x) if isinstance(x, keras.Variable) else x for x in values)
        step = tf.cast(tf.convert_to_tensor(self.iterations) + 1, var.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=var.handle,
            m=m.handle,
            v=v.handle,
            beta1_power=tf.cast(self.beta_1, var.dtype) ** step,
            beta2_power=tf.cast(self.beta_2, var.dtype) ** step,
            lr=tf.cast(learning_rate, var.dtype),
            beta1=tf.cast(self.beta_1, var.dtype),
            beta2=tf.cast(self.beta_2, var.dtype),
            epsilon=tf.cast(self.epsilon, var.dtype),
            grad=tf.cast(gradient, var.dtype),
        )
