export { sinkContract, type ContractCase, type SinkUnderTest } from './sink-contract.js'
