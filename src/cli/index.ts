// cli: one file a verb. Reads the command line, asks the running daemon over its local socket or works offline on files,
// and prints for people on a terminal and for programs in a pipe. It holds no rule of its own about mail.
export { type Io, run } from './run.ts'
