import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Case } from './cases.ts'

/** What a case leads to, in the words of docs/outcomes.md. */
export type Outcome = {
  /** `sent`, `bounced 5.1.1`, `expired 4.4.7`, `uncertain 4.4.2` … */
  readonly ends: string
  /** An answer was counted as an attempt. */
  readonly counted: string
  /** What was met when it last waited: stage and reply or fault; the reason where nothing was tried. */
  readonly waited: string
  /** Copies that the host took. */
  readonly copies: string
}

const HEADINGS: Readonly<Record<Case['kind'], string>> = {
  fault: '### A fault at each stage',
  mx: '### How hosts behave',
  dns: '### What the DNS says',
}

/** Reads the tables of docs/outcomes.md, which are written before a run. */
export function expectedOutcomes(): ReadonlyMap<string, Outcome> {
  const text = readFileSync(join(import.meta.dirname, '../../../docs/outcomes.md'), 'utf8')
  const outcomes = new Map<string, Outcome>()
  for (const [kind, heading] of Object.entries(HEADINGS)) {
    const section = text.slice(text.indexOf(heading)).slice(heading.length).split(/^##/m)[0]!
    for (const line of section.split('\n')) {
      const cells = line.split('|').map((cell) => cell.trim())
      if (cells.length !== 7 || cells[1] === 'case' || cells[1]!.startsWith('---')) continue
      outcomes.set(`${kind} ${cells[1]}`, {
        ...{ ends: cells[2]!, counted: cells[3]!, waited: cells[4]!, copies: cells[5]! },
      })
    }
  }
  return outcomes
}

export function inWords({ ends, counted, waited, copies }: Outcome): string {
  return `${ends}; counted ${counted}; waited ${waited}; copies ${copies}`
}
