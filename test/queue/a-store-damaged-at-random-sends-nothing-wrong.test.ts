import { join } from 'node:path'
import t from 'tap'
import { tempDir } from '#world'
import { randomFrom } from '../../scripts/prove/crash/options.ts'
import { copySpecimen, drawKind, judge, makeSpecimen } from './damaged-store.ts'

const MUTATIONS = 25

void t.test('nothing damaged is sent, nothing is lost without a word, nothing begins empty', async (t) => {
  await using room = await tempDir()
  const seed = Math.floor(Math.random() * 1e9)
  const random = randomFrom(seed)
  t.comment(`seed ${seed}; the long form: node scripts/prove/damage.ts --seed ${seed}`)
  const specimen = await makeSpecimen(room.path, 60)
  const sound = await judgeOf(specimen.cut)
  t.same(sound, { end: 'unharmed', wrong: [] }, 'undamaged, all of it goes out')
  const ends: Record<string, number> = {}
  for (let done = 0; done < MUTATIONS; ) {
    copySpecimen(random() < 0.5 ? specimen.closed : specimen.cut, room.join('damaged'))
    const [, mutate] = drawKind(random)
    const what = mutate(room.join('damaged'), random)
    if (what === null) continue
    done += 1
    const { end, wrong } = await judge(room.join('damaged'), specimen)
    ends[end] = (ends[end] ?? 0) + 1
    t.same(wrong, [], `${what}: ${end}`)
  }
  t.comment(JSON.stringify(ends))
  t.ok((ends.refused ?? 0) > 0 && (ends.held ?? 0) > 0)

  function judgeOf(from: string) {
    copySpecimen(from, join(room.path, 'damaged'))
    return judge(join(room.path, 'damaged'), specimen)
  }
})
