// The internet of a machine of its own: a name server and mail hosts, on loopback. Tells its ports, then each mail it took, a line each.
import { openDns, scriptedMx } from '../../../test/world/index.ts'

const good = await scriptedMx({ behaviour: 'good' })
await scriptedMx({ host: '127.0.0.2', port: good.port, behaviour: 'mail451' })
await scriptedMx({ host: '127.0.0.3', port: good.port, behaviour: 'tarpit' })
const dns = await openDns({
  'good.test': { MX: [[10, 'mx.good.test']] },
  'mx.good.test': { A: ['127.0.0.1'] },
  'later.test': { MX: [[10, 'mx.later.test']] },
  'mx.later.test': { A: ['127.0.0.2'] },
  'tarpit.test': { MX: [[10, 'mx.tarpit.test']] },
  'mx.tarpit.test': { A: ['127.0.0.3'] },
})
console.log(JSON.stringify({ dns: dns.port, mx: good.port }))
let told = 0
setInterval(() => {
  for (; told < good.taken.length; told++) {
    const { recipients, content } = good.taken[told]!
    console.log(JSON.stringify({ recipients, signed: /^DKIM-Signature:/m.test(content.toString('latin1')) }))
  }
}, 100)
