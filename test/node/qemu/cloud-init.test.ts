import test from 'ava'
import { cloudInitSeed } from '../../../node/qemu/cloud-init.ts'
import { machineConfig, vmNumber } from './machines.ts'

const SECTOR = 2048
const seedOf = (cloudInit: Record<string, string>): Buffer => {
  const seed = cloudInitSeed(vmNumber(1), machineConfig({ spec: { cloudInit } }).spec)
  return Buffer.from(seed ?? [])
}

/** A reader of its own, by ECMA-119 and Rock Ridge: names and contents of the root's files. */
function filesOf(image: Buffer): Record<string, string> {
  const files: Record<string, string> = {}
  const root = image.readUInt32LE(16 * SECTOR + 156 + 2) * SECTOR
  for (let at = root; image.readUInt8(at) > 0; at += image.readUInt8(at)) {
    const record = image.subarray(at, at + image.readUInt8(at))
    if ((record.readUInt8(25) & 2) !== 0) continue
    const identifier = record.readUInt8(32)
    let name = ''
    for (
      let use = 33 + identifier + ((33 + identifier) % 2);
      use + 4 <= record.length;
      use += record.readUInt8(use + 2)
    )
      if (record.toString('latin1', use, use + 2) === 'NM')
        name = record.toString('latin1', use + 5, use + record.readUInt8(use + 2))
    const start = record.readUInt32BE(6) * SECTOR
    files[name] = image.toString('utf8', start, start + record.readUInt32LE(10))
  }
  return files
}

test('a spec without cloud-init has no seed', (t) => {
  t.is(cloudInitSeed(vmNumber(1), machineConfig().spec), undefined)
})

const seeds: [what: string, cloudInit: Record<string, string>, files: Record<string, string>][] = [
  [
    'user data alone',
    { userData: '#cloud-config\n' },
    { 'meta-data': `instance-id: ${vmNumber(1)}\nlocal-hostname: web\n`, 'user-data': '#cloud-config\n' },
  ],
  ['both', { userData: 'a', metaData: 'b' }, { 'meta-data': 'b', 'user-data': 'a' }],
  ['no user data', { userData: '', metaData: 'b' }, { 'meta-data': 'b', 'user-data': '' }],
  [
    'several sectors of text that is not ASCII',
    { userData: 'é'.repeat(5000), metaData: 'b' },
    { 'meta-data': 'b', 'user-data': 'é'.repeat(5000) },
  ],
]

for (const [what, cloudInit, files] of seeds) {
  test(`a seed of ${what} holds it, and is made the same again`, (t) => {
    const seed = seedOf(cloudInit)
    t.deepEqual(filesOf(seed), files)
    t.true(seed.equals(seedOf(cloudInit)))
  })
}

test('a seed is named CIDATA and is as long as it says', (t) => {
  const seed = seedOf({ userData: 'x'.repeat(9000) })
  t.is(seed.toString('latin1', 16 * SECTOR, 16 * SECTOR + 7), '\x01CD001\x01')
  t.is(seed.toString('latin1', 16 * SECTOR + 40, 16 * SECTOR + 72).trimEnd(), 'CIDATA')
  t.is(seed.readUInt32LE(16 * SECTOR + 80) * SECTOR, seed.length)
  t.is(seed.readUInt32BE(16 * SECTOR + 84) * SECTOR, seed.length)
  t.is(seed.length % (32 * SECTOR), 0)
})
