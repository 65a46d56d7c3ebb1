// MAYFLY_QUICK, which `tests/run` sets and `tests/run all` does not: fewer of what there are many of, none of what takes minutes.
export const quick = Boolean(process.env.MAYFLY_QUICK);
export const many = quick ? 100 : 1000;
