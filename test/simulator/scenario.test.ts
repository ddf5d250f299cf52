import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import test from 'ava'
import { runBatch } from '../../simulator/batch.ts'
import { PEERS } from '../../simulator/peers.ts'
import { runSeed, type Scenario, type SeedReport, Violation } from '../../simulator/scenario.ts'

const cpuMs = (): number => 0

/** Fails, in the way that is asked, in the seeds that dice choose. */
const planted = (how: 'check' | 'end' | 'exception' | 'never'): Scenario => ({
  name: 'planted',
  summary: '',
  virtualMs: 1_000,
  peers: 1,
  moments: ['half', 'seldom'],
  run(world, _peers, moment) {
    let broken = false
    world.after(500, () => {
      moment('half')
      broken = world.random('planted').chance(0.3)
      if (broken) moment('seldom')
      if (broken && how === 'exception') throw new Error('a bug')
    })
    const look = (when: string) => (): void => {
      if (broken && how === when) throw new Violation('planted', `seen by ${when}`)
    }
    return { check: look('check'), end: look('end'), counts: () => ({ broken: Number(broken) }) }
  },
})

const run = (how: Parameters<typeof planted>[0]): SeedReport[] =>
  Array.from({ length: 40 }, (_, n) => runSeed(planted(how), { seed: n + 1, peers: 1 }, cpuMs))

for (const [how, why, atMs] of [
  ['check', /^planted: seen by check$/, 500],
  ['end', /^planted: seen by end$/, 1_000],
  ['exception', /^exception: Error: a bug\n/, 500],
] as const) {
  test(`a planted fault is found by ${how}, in the same seeds each time, with its trace`, (t) => {
    const [first, second] = [run(how), run(how)]
    t.deepEqual(first, second)
    const failed = first.filter(({ ok }) => !ok)
    t.true(failed.length > 3 && failed.length < 30, `${failed.length} failed`)
    for (const report of failed) {
      t.regex(report.why, why)
      t.is(report.atMs, atMs)
      t.regex(report.trace.at(-1) ?? '', /failed: /)
      t.deepEqual(report.moments, { half: 1, seldom: 1 })
    }
  })
}

test('nothing planted, nothing found', (t) => {
  for (const { ok, why, atMs, trace } of run('never'))
    t.deepEqual({ ok, why, atMs, trace }, { ok: true, why: '', atMs: 1_000, trace: [] })
})

test('a batch over threads reports as its seeds do here', async (t) => {
  const heard: SeedReport[] = []
  const batch = { scenario: 'links', peers: 6, firstSeed: 3, seeds: 4, virtualMs: 20_000, threads: 2 }
  const report = await runBatch(PEERS, batch, (seed) => heard.push(seed))
  t.deepEqual(
    heard.map(({ seed }) => seed).toSorted((a, b) => Number(a) - Number(b)),
    [3, 4, 5, 6],
  )
  t.is(report.seeds, 4)
  t.is(
    report.virtualMs,
    heard.reduce((sum, { atMs }) => sum + atMs, 0),
  )
  t.is(new Set(heard.map(({ hash }) => hash)).size, 4)
})

const cli = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
  spawnSync(process.execPath, [join(import.meta.dirname, '../../simulator/cli.ts'), ...args], {
    encoding: 'utf8',
  })

test('the command lists scenarios, refuses nonsense, and prints one line of JSON per seed', (t) => {
  t.regex(cli('--help').stdout, /scenarios:\n(.*\n)* {2}links /)
  t.is(cli('nothing').status, 2)
  t.is(cli('links', '--peers', 'x').status, 2)
  const { status, stdout, stderr } = cli('links', '--peers', '6', '--seed', '2', '--seeds', '2', '--json')
  t.is(status, 0, stderr + stdout)
  const lines = stdout
    .trim()
    .split('\n')
    .map((line): Record<string, unknown> => JSON.parse(line))
  t.deepEqual(
    lines
      .slice(0, 2)
      .map(({ seed }) => seed)
      .toSorted((a, b) => Number(a) - Number(b)),
    [2, 3],
  )
  t.like(lines[2], { ok: true, seeds: 2, failed: [] })
})
