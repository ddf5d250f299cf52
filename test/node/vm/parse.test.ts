import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { parseSpec } from '../../../node/vm/parse.ts'
import { vmSpec } from '../../../node/vm/spec.ts'
import { SPEC_BYTES_MAX } from '../../../protocols/limits.ts'

const base = 'name: till\ndisks: [{image: debian}]\n'

test('a spec that says the least gets every default', (t) => {
  t.deepEqual(parseSpec(base, 'till.yaml'), {
    ok: true,
    value: {
      version: 1,
      name: 'till',
      cpus: 1,
      cpuModel: 'qemu64',
      memoryMiB: 512,
      firmware: 'bios',
      disks: [{ image: 'debian' }],
      nics: [],
      autostart: true,
      dependsOn: [],
      labels: {},
      policy: 'autonomous',
      failover: 'manual',
    },
  })
})

test('a spec that says everything keeps it, and parses to itself as JSON', (t) => {
  const text = `
version: 1
name: till
cpus: 4
cpuModel: Haswell-v4
memory: 2GiB
firmware: uefi
disks:
  - image: debian
    size: 20GiB
  - {image: data, sizeMiB: 100}
nics:
  - {kind: bridge, bridge: br0, mac: 52:54:00:12:34:56}
  - {}
cloudInit:
  userData: |
    #cloud-config
autostart: false
dependsOn: [db]
labels: {rack: "1"}
policy: pinned
failover: manual
`
  const parsed = parseSpec(text, 'till.yaml')
  t.like(parsed, {
    ok: true,
    value: {
      memoryMiB: 2048,
      disks: [
        { image: 'debian', sizeMiB: 20_480 },
        { image: 'data', sizeMiB: 100 },
      ],
      nics: [{ kind: 'bridge', bridge: 'br0', mac: '52:54:00:12:34:56' }, { kind: 'user' }],
      labels: { rack: '1' },
    },
  })
  t.deepEqual(parseSpec(JSON.stringify(parsed.ok && parsed.value), 'again'), parsed)
})

const memories: [written: string, mib: number][] = [
  ['memory: 512MiB', 512],
  ['memory: 512', 512],
  ['memory: "512"', 512],
  ['memory: 2 GiB', 2048],
  ['memory: 1.5GiB', 1536],
  ['memory: 1TiB', 1024 ** 2],
  ['memoryMiB: 2048', 2048],
]

for (const [written, mib] of memories) {
  test(`${written} is ${mib} MiB`, (t) => {
    t.like(parseSpec(`${base}${written}\n`, 'till.yaml'), { ok: true, value: { memoryMiB: mib } })
  })
}

test('flags go through the same schema, units included', (t) => {
  t.like(vmSpec.parse({ name: 'till', memory: '1GiB', disks: [{ image: 'debian', size: '2GiB' }] }), {
    memoryMiB: 1024,
    disks: [{ sizeMiB: 2048 }],
  })
})

type Fault = { line: number; column: number; key: string; why: string | RegExp }
const at = (line: number, column: number, key: string, why: string | RegExp): Fault => ({
  line,
  column,
  key,
  why,
})
const bomb = Array.from(
  { length: 8 },
  (_, i) => `  k${i}: &a${i} [x, ${`*a${i - 1},`.repeat(i > 0 ? 9 : 0)}]`,
)

const faults: [what: string, text: string, fault: Fault][] = [
  ['nothing', '', at(1, 1, 'document', 'must be a map of keys to values, not nothing')],
  ['a list', '- 1\n', at(1, 1, 'document', 'must be a map of keys to values, not a list')],
  ['no YAML', 'name: a: b\n', at(1, 7, 'yaml', 'nested mappings are not allowed in compact mappings')],
  ['a key twice', `${base}name: other\n`, at(3, 1, 'yaml', 'map keys must be unique')],
  ['two documents', `${base}---\n${base}`, at(3, 1, 'yaml', 'a second document')],
  ['a tag', `${base}cpus: !count 2\n`, at(3, 7, 'yaml', 'unresolved tag: !count')],
  [
    'a key that is a list',
    `${base}? [a]\n: b\n`,
    at(3, 3, 'yaml', 'with stringKeys, all keys must be strings'),
  ],
  ['a bomb', `labels:\n${bomb.join('\n')}\n`, at(1, 1, 'yaml', /^excessive alias count/)],
  ['too much', `# ${'x'.repeat(SPEC_BYTES_MAX)}`, at(1, 1, 'document', '32770 bytes, over 32768')],
  ['a typo', `${base}memry: 1GiB\n`, at(3, 1, 'memry', 'unknown key; did you mean memory?')],
  ['a swap', `${base}labesl: {}\n`, at(3, 1, 'labesl', 'unknown key; did you mean labels?')],
  ['a half word', `${base}depends: []\n`, at(3, 1, 'depends', 'unknown key; did you mean dependsOn?')],
  ['a word from elsewhere', `${base}gpu: 1\n`, at(3, 1, 'gpu', 'unknown key')],
  [
    'a typo below',
    'name: a\ndisks:\n  - image: x\n    siz: 1\n',
    at(4, 5, 'disks[0].siz', 'unknown key; did you mean size?'),
  ],
  ['no name', 'disks: [{image: x}]\n', at(1, 1, 'name', 'is missing')],
  ['no image', 'name: a\ndisks:\n  - size: 1GiB\n', at(3, 5, 'disks[0].image', 'is missing')],
  ['no disks', 'name: a\ndisks: []\n', at(2, 1, 'disks', 'must have at least 1 entries')],
  [
    'a name in capitals',
    'name: Till\ndisks: [{image: x}]\n',
    at(1, 1, 'name', 'a name is a-z, 0-9 and -, not at its ends'),
  ],
  ['a newer version', `${base}version: 2\n`, at(3, 1, 'version', 'must be 1')],
  ['text for a number', `${base}cpus: two\n`, at(3, 1, 'cpus', 'must be a number, not text')],
  ['half a CPU', `${base}cpus: 1.5\n`, at(3, 1, 'cpus', 'must be a whole number, not the number 1.5')],
  [
    'a number for text',
    `${base}labels: {rack: 1}\n`,
    at(3, 10, 'labels.rack', 'must be text: quote it, "1"'),
  ],
  [
    'a label with a blank',
    `${base}labels: {"a b": c}\n`,
    at(3, 10, 'labels.a b', 'a label is letters, digits and _ . / -'),
  ],
  ['an unknown policy', `${base}policy: leased\n`, at(3, 1, 'policy', 'must be autonomous or pinned')],
  ['too little memory', `${base}memory: 8MiB\n`, at(3, 1, 'memory', 'must be at least 16')],
  ['a unit of tens', `${base}memory: 2GB\n`, at(3, 1, 'memory', /^a size is a number of MiB, or has a unit/)],
  ['a part of a MiB', `${base}memory: 16.5MiB\n`, at(3, 1, 'memory', /^a size is/)],
  [
    'memory twice',
    `${base}memory: 1GiB\nmemoryMiB: 5\n`,
    at(3, 1, 'memory', 'memory and memoryMiB say the same thing: write one'),
  ],
  [
    'a bridge nic without one',
    `${base}nics:\n  - kind: bridge\n`,
    at(4, 5, 'nics[0].bridge', 'a nic of kind bridge names its bridge'),
  ],
  [
    'a user nic with one',
    `${base}nics: [{bridge: br0}]\n`,
    at(3, 9, 'nics[0].bridge', 'only a nic of kind bridge has a bridge'),
  ],
  [
    'one MAC twice',
    `${base}nics:\n  - mac: 52:54:00:00:00:01\n  - {}\n  - mac: 52:54:00:00:00:01\n`,
    at(6, 5, 'nics[2].mac', 'nics[0] has this MAC address already'),
  ],
  [
    'a group MAC',
    `${base}nics: [{mac: 53:54:00:00:00:01}]\n`,
    at(3, 9, 'nics[0].mac', 'a multicast address is no MAC of a nic'),
  ],
  [
    'a VM that waits for itself',
    `${base}dependsOn: [db, till]\n`,
    at(3, 17, 'dependsOn[1]', 'a VM cannot wait for itself'),
  ],
  ['a dependency twice', `${base}dependsOn: [db, db]\n`, at(3, 17, 'dependsOn[1]', 'db is listed twice')],
  [
    'failover of a pinned VM',
    `${base}policy: pinned\nfailover: automatic\n`,
    at(4, 1, 'failover', /policy pinned forbids$/),
  ],
  [
    'more once written out than it looks',
    `${base}cloudInit: {userData: '${'"'.repeat(16_384)}'}\n`,
    at(1, 1, 'document', /^\d+ bytes once written out, over 32768$/),
  ],
]

for (const [what, text, { line, column, key, why }] of faults) {
  test(`a spec with ${what} is refused at its place`, (t) => {
    const parsed = parseSpec(text, 'till.yaml')
    if (parsed.ok) return t.fail('it was taken')
    t.like(parsed.failure, { code: 'SPEC_INVALID', file: 'till.yaml', line, column, key })
    const said = 'why' in parsed.failure ? parsed.failure.why : ''
    return typeof why === 'string' ? t.is(said, why) : t.regex(said, why)
  })
}

test('brackets without end are refused, wherever the stack ends', (t) => {
  t.like(parseSpec('['.repeat(30_000), 'till.yaml'), {
    ok: false,
    failure: { code: 'SPEC_INVALID', line: 1, key: 'yaml', why: 'nested too deeply' },
  })
})

const crumbs = [
  'name',
  ': ',
  'disks',
  '- ',
  '\n',
  '  ',
  '[',
  ']',
  '{',
  '}',
  '&a',
  '*a',
  '!',
  '|',
  '"',
  "'",
  '#',
  ',',
  '?',
  '__proto__',
  'mac',
]
const noise = fc.oneof(
  fc.string(),
  fc.array(fc.constantFrom(...crumbs), { maxLength: 60 }).map((each) => each.join('')),
)

testProp('no text makes it throw, and every refusal has a place', [noise], (t, text) => {
  const parsed = parseSpec(text, 'noise')
  const place =
    !parsed.ok && parsed.failure.code === 'SPEC_INVALID' ? parsed.failure : { line: 1, column: 1, key: 'x' }
  t.true(place.line >= 1 && place.column >= 1 && place.key.length > 0)
})
