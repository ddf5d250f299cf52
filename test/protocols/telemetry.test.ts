import test from 'ava'
import { GOSSIP_BYTES_MAX } from '../../protocols/limits.ts'
import { digest, meshTopic, sample, siteTopic } from '../../protocols/telemetry/messages.ts'
import { exampleDigest, exampleSample } from '../node/telemetry/examples.ts'
import { golden, sturdy } from './golden.ts'

golden('telemetry-sample', sample, exampleSample())
golden('telemetry-digest', digest, exampleDigest())
sturdy('a sample', sample, exampleSample())

test('topics tell meshes, sites and versions apart', (t) => {
  t.is(siteTopic('m', 'harbour1'), '/godwit/m/site/harbour1/1')
  t.is(meshTopic('m'), '/godwit/m/sites/1')
})

test('a sample without pressure, jobs and VMs is one', (t) => {
  const {
    cpuPressure: _,
    memoryPressure: __,
    ioPressure: ___,
    ...bare
  } = exampleSample({ vms: [], jobs: [], loadAverage: [] })
  t.deepEqual(sample.decode(sample.encode(bare)), bare)
})

const refused: [what: string, change: object, at: string][] = [
  ['a load above all CPUs', { cpuLoad: 1.01 }, 'sample.cpuLoad'],
  ['a load that is no number', { cpuLoad: Number.NaN }, 'sample.cpuLoad'],
  ['bytes below nothing', { memoryUsedBytes: -1 }, 'sample.memoryUsedBytes'],
  ['an author that is no peer', { author: 'me' }, 'sample.author'],
  ['a state that no VM has', { vms: [{ ...exampleSample().vms[0], state: 'dead' }] }, 'sample.vms.0.state'],
  ['a text for a job that is too long', { jobs: ['x'.repeat(2_049)] }, 'sample.jobs.0'],
]

for (const [what, change, at] of refused) {
  test(`a sample with ${what} is refused`, (t) => {
    const error = t.throws(() => sample.encode({ ...exampleSample(), ...change }))
    t.like(error, { failure: { code: 'FRAME_INVALID', at } })
  })
}

test('a frame above the bound is refused unread', (t) => {
  const error = t.throws(() => sample.decode(new Uint8Array(GOSSIP_BYTES_MAX + 1)))
  t.like(error, { failure: { code: 'FRAME_TOO_LARGE' } })
})
