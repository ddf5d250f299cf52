import test from 'ava'
import { METRICS, type MetricValues, render } from '../../node/metrics.ts'
import type { Outcome } from '../../protocols/outcome.ts'

const text = (values: Partial<MetricValues>): Promise<Outcome<string>> =>
  new Promise((resolve) => render(values, resolve))
const rows = Object.entries(METRICS)

// The rules of `promtool check metrics`, and that a name says its unit.
const rules: [
  rule: string,
  holds: (name: string, metric: (typeof METRICS)[keyof typeof METRICS]) => boolean,
][] = [
  ['a name is lower case', (name) => /^(godwit|process)(_[a-z0-9]+)+$/.test(name)],
  [
    'counters, and nothing else, end in _total',
    (name, { type }) => (type === 'counter') === name.endsWith('_total'),
  ],
  ['no name ends like a part of a histogram', (name) => !/_(bucket|count|sum)$/.test(name)],
  ['no name says its type', (name) => !/_(gauge|counter|metric)(_|$)/.test(name)],
  [
    'units are base units',
    (name) => !/_(ms|millis|milliseconds|minutes|kb|kib|mib|gib|percent)(_|$)/.test(name),
  ],
  [
    'a unit is said last',
    (name, { unit }) => unit === '' || name.replace(/_total$/, '').endsWith(`_${unit}`),
  ],
  [
    'a unit that is said is declared',
    (name, { unit }) => unit !== '' || !/_(bytes|seconds|ratio)(_|$)/.test(name),
  ],
  ['help is one sentence', (_, { help }) => /^[A-Z0-9].{8,}[.]$/.test(help) && !help.includes('\n')],
  [
    'no label is reserved or says the name again',
    (_, { labels }) => labels.every((label) => !['le', 'quantile', 'job', 'instance'].includes(label)),
  ],
]

for (const [rule, holds] of rules) {
  test(`metrics: ${rule}`, (t) => {
    t.deepEqual(
      rows.filter(([name, metric]) => !holds(name, metric)).map(([name]) => name),
      [],
    )
  })
}

test('what is given is printed, with help and type; what is not given is left out', async (t) => {
  const told = await text({
    godwit_ready: 1,
    godwit_peers: [
      { state: 'alive', value: 3 },
      { state: 'lost', value: 0 },
    ],
    godwit_frames_bad_total: [{ protocol: 'raft', value: 2 ** 40 }],
    process_cpu_seconds_total: 1.5,
  })
  t.deepEqual(told, {
    ok: true,
    value: `# HELP godwit_ready 1 once this peer is ready to serve.
# TYPE godwit_ready gauge
godwit_ready 1

# HELP godwit_peers Admitted peers by state of membership.
# TYPE godwit_peers gauge
godwit_peers{state="alive"} 3
godwit_peers{state="lost"} 0

# HELP godwit_frames_bad_total Frames received that no decoder takes.
# TYPE godwit_frames_bad_total counter
godwit_frames_bad_total{protocol="raft"} 1099511627776

# HELP process_cpu_seconds_total CPU time that this process has used.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 1.5
`,
  })
})

test('two scrapes do not add up, odd values are left out, labels are escaped, series are bounded', async (t) => {
  const values: Partial<MetricValues> = {
    process_cpu_seconds_total: -1,
    godwit_ready: Number.NaN,
    godwit_peer_up: Array.from({ length: 2_000 }, (_, index) => ({
      peer: `p"${index}\n`,
      site: 's',
      value: 1,
    })),
  }
  const [first, second] = [await text(values), await text(values)]
  t.deepEqual(first, second)
  const lines = first.ok ? first.value.split('\n') : []
  t.is(lines.filter((line) => line.startsWith('godwit_peer_up{')).length, 1_024)
  t.true(lines.includes('godwit_peer_up{peer="p\\"0\\n",site="s"} 1'))
  t.true(lines.includes('process_cpu_seconds_total 0'))
  t.false(lines.some((line) => /NaN/i.test(line)))
})
