// A miniature internet for the tests: a name server, mail hosts that obey a script, certificates, clocks, clients that speak raw lines.
// Every part is real where the real thing runs here: sockets, TLS, DNS packets, an independent verifier.
// Nothing in it is used by the product, and nothing in it leaves this machine.
export { type BlackHole, blackHole } from './black-hole.ts'
export { type Certificate, type CertificateKind, certificate, worldCa } from './certificates.ts'
export { type DialogueOptions, dialogue, dialogueFile } from './dialogue.ts'
export { type DnsEntry, type DnsFault, type DnsQuery, type DnsServer, openDns } from './dns-server.ts'
export { type LoadOptions, type LoadResult, load } from './load.ts'
export { type Arrival, type Verdict, verifyMail } from './mail-verifier.ts'
export { fastClock, type ManualClock, manualClock } from './manual-clock.ts'
export {
  AS_USUAL,
  BEHAVIOURS,
  type Behaviour,
  type BehaviourName,
  FAULTS,
  type Fault,
  type FaultStage,
  faulty,
  type Script,
  STAGES,
} from './mx-behaviours.ts'
export { openPolicyHost, type PolicyAnswer, type PolicyHost } from './policy-host.ts'
export { RawClient, type RawReply } from './raw-client.ts'
export { MxSession, type ScriptedMx, type ScriptedMxOptions, scriptedMx, type Taken } from './scripted-mx.ts'
export { type TempDir, tempDir } from './temp-dir.ts'
