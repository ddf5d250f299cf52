import test from 'ava'
import { Jobs } from '../../node/jobs.ts'
import { World } from '../../simulator/world.ts'

const MIB = 1024 ** 2

function started(): { world: World; jobs: Jobs; at: (ms: number, doneBytes: number) => void } {
  const world = new World(1)
  const jobs = new Jobs(world.clock(), 'quay', () => {})
  jobs.begin('J', 'move', 'web')
  const at = (ms: number, doneBytes: number): void => {
    world.run(ms)
    jobs.progress('J', { doneBytes, totalBytes: 256 * MIB })
  }
  return { world, jobs, at }
}

test('what was there before is no speed', (t) => {
  const { jobs, at } = started()
  at(1_000, 224 * MIB)
  for (let s = 2; s <= 6; s++) at(s * 1_000, (224 + 4 * (s - 1)) * MIB)
  t.is(jobs.get('J')?.bytesPerSecond, 4 * MIB)
  t.is(jobs.get('J')?.etaSeconds, 3)
})

test('done bytes never decrease', (t) => {
  const { jobs, at } = started()
  at(1_000, 10 * MIB)
  at(2_000, 5 * MIB)
  t.is(jobs.get('J')?.doneBytes, 10 * MIB)
})

test('a job that has ended changes no more, and cannot be cancelled', (t) => {
  const { jobs, at } = started()
  jobs.end('J', { code: 'DISK_FULL', path: '/data' })
  at(1_000, 10 * MIB)
  t.like(jobs.get('J'), { state: 'failed', code: 'DISK_FULL', doneBytes: 0 })
  t.false(jobs.cancel('J'))
})
