/** Of two hosts of a site the second has no vote, but holds an entry before it is acknowledged while it is in sight. */
import test from 'ava'
import { specNamed } from '../../simulator/operators.ts'
import { Mesh } from '../found/support.ts'

test('an entry that the second host does not hold waits until that one is out of sight', (t) => {
  const mesh = new Mesh([{ name: 'aa', peers: 2 }])
  const { configuration } = mesh.context('aa-1').agreement.site.status()
  t.is(configuration.voters.length, 1)
  t.is(configuration.learners.length, 1)
  const tookMs = (name: string): number => {
    const answers = mesh.ask('aa-1', 'vm.create', { spec: specNamed(name), start: false, dryRun: false })
    const ms = mesh.until('it is acknowledged', () => answers.length > 0)
    t.true(answers[0]?.ok)
    return ms
  }
  const inSightMs = tookMs('one')
  t.true(inSightMs < 100, `${inSightMs} ms`)
  mesh.cluster.network.cut(mesh.host('aa-1').terms.id, mesh.host('aa-2').terms.id)
  const cutMs = tookMs('two')
  t.true(cutMs > 500, `acknowledged after ${cutMs} ms, though the second host seemed to be there`)
  mesh.run(5_000)
  const aloneMs = tookMs('three')
  t.true(aloneMs < 100, `${aloneMs} ms, though the second host was known to be gone`)
})
