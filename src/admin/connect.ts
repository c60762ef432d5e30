/** The way to Redis, for those above who may not go there themselves. */
export { openOperator, redactedUrl, type Operator, type OperatorTarget } from '../redis/operator.js'
