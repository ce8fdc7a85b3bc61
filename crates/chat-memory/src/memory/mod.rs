//! What the model is shown: a history through a policy.
