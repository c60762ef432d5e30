/** What those above may know of how keys are written. */
export { idPart } from '../keys/key-schema.js'
export { isTenantPart } from '../keys/parse-id.js'
