"""Makes a trained model as large as you like without changing what it computes.

A small trained pair shows how often drafts are accepted, a large one how long a forward takes. An
inflated pair shows both, on any machine, without a download. The function stays the same because

- every dimension of the residual stream, every head and every unit of the feed-forward layers is
  copied several times. What reads them splits its weights over the copies, so that their sum is
  precise even in four bits (`inflated_tensors.spread`);
- an RMS norm divides by the mean over all dimensions, so its weights and its epsilon are scaled by
  the share of the dimensions in use;
- additional blocks write zero: their last projections are zero, the rest is random. They are spread
  evenly between the trained ones;
- additional tokens, named as unused, can never win (`source_model.Guard`).

The embedding stays float16: a token reads one row of it, which takes no time.
"""
