/** Each named scenario of tier A with one seed; `npm run simulate -- raft --scenario NAME --seeds K` runs more. */
import { setPriority } from 'node:os'
import test from 'ava'
import { runSetup } from '../../../simulator/raft/run.ts'
import { SCENARIOS, setupOf } from '../../../simulator/raft/scenarios.ts'

setPriority(5)

for (const { name, summary, isLong } of SCENARIOS) {
  if (isLong === true) continue
  test(`${name}: ${summary}`, (t) => {
    const { report } = runSetup(setupOf(name, 1, undefined), () => 0)
    t.is(report.why, '')
    t.true((report.counts['ok'] ?? 0) > 100, 'clients were served')
  })
}

test('no two scenarios have one name', (t) => {
  t.is(new Set(SCENARIOS.map(({ name }) => name)).size, SCENARIOS.length)
})
