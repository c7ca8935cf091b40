// base: time, ids, log, results and faults. Everything may stand on it; it stands on nothing of ours.
// It holds no knowledge of mail.
export { type Clock, isoTime, sleep, systemClock } from './clock.ts'
export { type ContentShares, contentSharesOf } from './content-shares.ts'
export { EX, Fault, type FaultDetail, isMachineError, messageOf } from './fault.ts'
export { isId, newId } from './ids.ts'
export { Type } from './json-schema.ts'
export { type Fields, type Log, type LogLevel, type OpenLog, openLog, silentLog } from './log.ts'
export { failed, ok, type Result } from './result.ts'
export { type ManagedProcess, type ServiceManager, serviceManager } from './service-manager.ts'
export { type ClockSet, steadyClock } from './steady-clock.ts'
