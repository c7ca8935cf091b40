// config: what the operator writes down once. Reads, checks and explains the configuration files, the environment and
// the flags, and gives every room its section as plain data. It never holds what people change while Relevo runs.
export { type ConfigChange, diffConfig } from './diff.ts'
export { type Explanation, explain } from './explain.ts'
export { jsonSchema } from './json-schema.ts'
export { type ListenAddress, parseListen } from './listen-address.ts'
export { type Loaded, type LoadOptions, load, loadConfig } from './load.ts'
export { nearest } from './nearest.ts'
export { ConfigFault, type Problem } from './problem.ts'
export { DEFAULT_FILE } from './read-files.ts'
export { renderSample } from './sample.ts'
export { type Config, ConfigSchema } from './schema.ts'
