import type { WorkerModuleFactory } from '#store'

// A module that remembers in memory what it wrote, as the queue does for counts and segments.
const open: WorkerModuleFactory = ({ statement }) => {
  let remembered: string[] = []
  let kept: string[] = []
  return {
    ops: {
      'test.add': ({ name, fail }: { name: string; fail: boolean }) => {
        remembered.push(name)
        statement('INSERT INTO added VALUES (?)').run(name)
        if (fail) throw Object.assign(new Error(`${name} was told to fail`), { code: 'told-to-fail' })
        return remembered.length
      },
      'test.remembered': () => remembered,
      'test.added': () => statement('SELECT name FROM added ORDER BY rowid').all(),
    },
    afterCommit: () => {
      kept = [...remembered]
    },
    afterRollback: () => {
      remembered = [...kept]
    },
  }
}

export default open
