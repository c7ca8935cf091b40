import { valuesOf } from '../lookup/read-reply.ts'
import type { ZoneView } from '../lookup/zone-view.ts'
import { isDmarc } from '../policy/dmarc-record.ts'
import { isSpf } from '../policy/spf-record.ts'
import { readTags } from '../policy/tag-list.ts'
import type { WantedRecord } from '../records/wanted.ts'
import { type Finding, finding } from './finding.ts'

/** Looks where panels put a record that is missing at its name. Null: it is nowhere near. */
export async function findMisplaced(wanted: WantedRecord, view: ZoneView): Promise<Finding | null> {
  const { apex } = await view.zoneOf(wanted.name)
  if (apex === '' || !wanted.name.endsWith(apex)) return null
  const isIt = recogniser(wanted)
  for (const { name, code, message, remedy } of placesOf(wanted, apex)) {
    const said = await view.peek(name, wanted.type)
    if (!valuesOf(said).some(isIt)) continue
    return finding('error', code, wanted.name, message, remedy)
  }
  return null
}

type Place = { readonly name: string; readonly code: string; readonly message: string; readonly remedy: string }

function placesOf(wanted: WantedRecord, apex: string): readonly Place[] {
  const { name, check } = wanted
  const head = name === apex ? '' : name.slice(0, -apex.length - 1)
  const places: Place[] = [
    {
      name: `${name}.${apex}`,
      code: 'name-doubled',
      message: `it stands at ${name}.${apex}: the panel has put the domain behind the name once more`,
      remedy: `Enter the name as ${head === '' ? '@' : head}, or as ${name}. with a dot at its end.`,
    },
  ]
  const moved = (at: string, remedy: string): Place => ({
    name: at,
    code: 'at-wrong-name',
    message: `it stands at ${at}`,
    remedy,
  })
  const again = `Move it to ${name}.`
  if (name.includes('_')) {
    const bare = name
      .split('.')
      .map((label) => label.replace(/^_/, ''))
      .join('.')
    places.push({
      name: bare,
      code: 'underscore-missing',
      message: `it stands at ${bare}: the underscores were lost`,
      remedy: `Enter the name with its underscores: ${head}.`,
    })
  }
  if (check === 'dkim') {
    const [selector = '', , ...rest] = name.split('.')
    const domain = rest.join('.')
    places.push(
      moved(`${selector}.${domain}`, again),
      moved(`_domainkey.${domain}`, again),
      moved(`${selector}._domainkey.www.${domain}`, again),
      moved(domain, again),
    )
  }
  if (check === 'dmarc') {
    const domain = name.slice('_dmarc.'.length)
    places.push(moved(domain, again), moved(`_dmarc._dmarc.${domain}`, again))
  }
  if (check === 'spf') places.push(moved(`_spf.${name}`, again), moved(`spf.${name}`, again))
  return places.filter((place) => place.name !== name)
}

/** Whether a value found elsewhere is the one that was meant. */
function recogniser(wanted: WantedRecord): (text: string) => boolean {
  if (wanted.check === 'dkim') {
    const key = keyOf(wanted.value)
    return (text) => keyOf(text) === key
  }
  if (wanted.check === 'dmarc') return isDmarc
  // The domain may have an SPF record of its own; only one that is ours counts.
  if (wanted.check === 'spf') return (text) => isSpf(text) && text.includes(wanted.value.split(' ')[1] ?? '')
  return (text) => text === wanted.value
}

function keyOf(text: string): string {
  return (readTags(text)?.get('p') ?? '').replace(/\s+/g, '')
}
