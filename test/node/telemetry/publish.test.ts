import test from 'ava'
import { frameOfDigest, frameOfSample, newPublishing, step } from '../../../node/telemetry/publish.ts'
import {
  DIGEST_VMS_MAX,
  GOSSIP_BYTES_MAX,
  SAMPLE_JOBS_MAX,
  SAMPLE_VMS_MAX,
} from '../../../protocols/limits.ts'
import { type Digest, digest, type Sample, sample } from '../../../protocols/telemetry/messages.ts'
import { random } from '../../../simulator/random.ts'
import { exampleDigest, exampleSample } from './examples.ts'

/** What is told in `ms`, with a tick each 100 ms, and when. */
function told(terms: {
  ms: number
  leads: (nowMs: number) => boolean
  hurried?: (nowMs: number) => boolean
  seed?: number
}) {
  const dice = random(terms.seed ?? 1, 'publish')
  const publishing = newPublishing(0, dice)
  const all: { kind: string; sequence: number; atMs: number }[] = []
  for (let nowMs = 0; nowMs < terms.ms; nowMs += 100) {
    if (terms.hurried?.(nowMs)) step(publishing, { kind: 'hurry', nowMs }, dice)
    for (const effect of step(publishing, { kind: 'tick', nowMs, leads: terms.leads(nowMs) }, dice)) {
      all.push({ ...effect, atMs: nowMs })
    }
  }
  return {
    samples: all.filter(({ kind }) => kind === 'sample'),
    digests: all.filter(({ kind }) => kind === 'digest'),
  }
}

const gaps = (all: { atMs: number }[]): number[] =>
  all.slice(1).map(({ atMs }, index) => atMs - (all[index]?.atMs ?? 0))

test('samples every 5 s, digests every 10 s by the leader alone, neither in step with others', (t) => {
  const { samples, digests } = told({ ms: 120_000, leads: () => true })
  t.true(samples.length >= 22 && samples.length <= 27)
  t.true(digests.length >= 11 && digests.length <= 14)
  t.true(gaps(samples).every((gap) => gap >= 4_400 && gap <= 5_700))
  t.deepEqual(
    samples.map(({ sequence }) => sequence),
    samples.map((_, index) => index + 1),
  )
  t.deepEqual(told({ ms: 120_000, leads: () => false }).digests, [])
  t.notDeepEqual(
    told({ ms: 60_000, leads: () => true, seed: 2 }).samples,
    told({ ms: 60_000, leads: () => true }).samples,
  )
})

test('a new leader speaks at once', (t) => {
  const { digests } = told({ ms: 60_000, leads: (nowMs) => nowMs >= 30_000 })
  t.is(digests[0]?.atMs, 30_000)
})

test('a change is told at once, a storm of them within bounds', (t) => {
  const once = told({ ms: 20_000, leads: () => true, hurried: (nowMs) => nowMs === 7_000 })
  t.true(once.samples.some(({ atMs }) => atMs === 7_000))
  t.true(once.digests.some(({ atMs }) => atMs === 7_000))
  const storm = told({ ms: 20_000, leads: () => true, hurried: () => true })
  t.true(gaps(storm.samples).every((gap) => gap >= 500))
  t.true(storm.samples.length <= 41)
  t.true(gaps(storm.digests).every((gap) => gap >= 2_000))
  t.true(storm.digests.length >= 9)
})

const [vm] = exampleSample().vms as [Sample['vms'][number]]
const [placed] = exampleDigest().vms as [Digest['vms'][number]]
const long = 'a'.repeat(63)

test('a host with more than fits tells of its VMs before its jobs, and counts them all', (t) => {
  const vms = Array.from({ length: SAMPLE_VMS_MAX }, () => ({
    ...vm,
    name: long,
    why: 'x'.repeat(200),
    epoch: '1'.repeat(64),
  }))
  const jobs = Array.from({ length: SAMPLE_JOBS_MAX }, () => 'x'.repeat(2_000))
  const frame = frameOfSample(exampleSample({ vms, jobs, vmsTotal: 500 }))
  t.true(frame.length <= GOSSIP_BYTES_MAX)
  const said = sample.decode(frame)
  t.is(said.vmsTotal, 500)
  t.is(said.vms.length, SAMPLE_VMS_MAX)
  t.true(said.jobs.length < SAMPLE_JOBS_MAX)
})

test('a site of the longest names still has a digest', (t) => {
  const vms = Array.from({ length: DIGEST_VMS_MAX }, () => ({
    ...placed,
    name: long,
    hostName: long,
    epoch: '1'.repeat(64),
  }))
  const frame = frameOfDigest(exampleDigest({ vms, vmsTotal: 4_096 }))
  t.true(frame.length <= GOSSIP_BYTES_MAX)
  const said = digest.decode(frame)
  t.is(said.vmsTotal, 4_096)
  t.true(said.vms.length >= 100)
})

test('200 VMs of ordinary names fit whole', (t) => {
  const vms = Array.from({ length: DIGEST_VMS_MAX }, (_, index) => ({ ...placed, name: `shop-${index}` }))
  t.is(digest.decode(frameOfDigest(exampleDigest({ vms }))).vms.length, DIGEST_VMS_MAX)
})

test('what is wrong rather than large is our bug, and shows', (t) => {
  t.throws(() => frameOfSample(exampleSample({ cpuLoad: 2 })), { message: /cpuLoad/ })
})
