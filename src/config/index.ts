// config: what the operator writes down once. Reads, checks and explains the configuration files, the environment and
// the flags, and gives every room its section as plain data. It never holds what people change while Relevo runs.
export { type Config, ConfigSchema } from './schema.ts'
