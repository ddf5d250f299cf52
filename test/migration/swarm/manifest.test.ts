/** How a large manifest comes: by groups, from several sources, and not again after a cut; to and from older peers too. */
import { hash } from 'node:crypto'
import test, { type ExecutionContext } from 'ava'
import type { Report } from '../../../migration/swarm/swarm.ts'
import type { PeerId } from '../../../protocols/ids.ts'
import { CHUNK_BYTES_MIN, MANIFEST_GROUP_CHUNKS, SWARM_PART_BYTES } from '../../../protocols/limits.ts'
import { ok } from '../../../protocols/outcome.ts'
import { decode, encode, type Message, parts, PROTOCOL } from '../../../protocols/swarm/messages.ts'
import type { Channel } from '../../../protocols/transport.ts'
import { buildManifest, HASH_BYTES, verifyManifest } from '../../../storage/images/manifest.ts'
import { encodeManifest } from '../../../storage/images/manifest-form.ts'
import { type Fetched, type Image, type Peer, range, Stage } from './support.ts'

const GROUPS = 6
const GROUP_BYTES = MANIFEST_GROUP_CHUNKS * HASH_BYTES
/** Hashes of chunks that nobody holds; the last group is short, and some of it is zeros. */
const chunks = GROUPS * MANIFEST_GROUP_CHUNKS - 1_000
const image: Image = {
  manifest: buildManifest(
    chunks * CHUNK_BYTES_MIN,
    CHUNK_BYTES_MIN,
    Buffer.concat(
      Array.from({ length: chunks / 8 }, (_, i) => {
        const some = hash('sha512', String(i), 'buffer')
        return i % 50_000 < 100 ? Buffer.alloc(8 * HASH_BYTES) : Buffer.concat([some, some, some, some])
      }),
    ),
  ),
  frames: new Map(),
}
const ascending = (one: number, other: number): number => one - other
const MANIFEST = { image, indexes: [] }
const pull = (stage: Stage, peer: Peer, sources: readonly { readonly id: PeerId }[]): Fetched =>
  stage.fetch(peer, image, sources as readonly Peer[], { only: 'manifest' })

type Got = { readonly wireBytes: number; readonly links: Report['links'] }
function got(t: ExecutionContext, { outcome }: Fetched): Got {
  if (outcome?.ok !== true) throw new Error(JSON.stringify(outcome))
  t.is(verifyManifest(outcome.value.manifest), undefined)
  t.is(outcome.value.manifest.image, image.manifest.image)
  return outcome.value.report
}

/** Groups that come to disk, in the order in which they do. */
function groupsOf(peer: Peer): number[] {
  const groups: number[] = []
  const receive = peer.manifests.receive.bind(peer.manifests)
  peer.manifests.receive = (tree, done) =>
    receive(tree, (outcome) => {
      if (!outcome.ok) return done(outcome)
      const { draft, missing } = outcome.value
      const set = (index: number, hashes: Uint8Array): void => {
        groups.push(index / MANIFEST_GROUP_CHUNKS)
        draft.set(index, hashes)
      }
      done(ok({ draft: { ...draft, set }, missing }))
    })
  return groups
}

/** A peer that answers `hello` in its own way. */
function stranger(stage: Stage, answer: (channel: Channel, said: Message) => void): { id: PeerId } {
  const { id, transport } = stage.network.join('stranger', 'there')
  transport.serve(PROTOCOL, {
    channel: (_, channel) => channel.onFrame((frame) => answer(channel, decode(frame) as Message)),
  })
  return { id }
}

function acquaint(stage: Stage, ...ids: PeerId[]): void {
  const everyone = new Map(ids.map((id) => [id, []]))
  for (const id of ids) stage.network.peer(id)?.transport.allow(everyone)
}

test('a large manifest comes by groups, each once, from several sources at a time', (t) => {
  const stage = new Stage(1, { uplinkMbit: 40 })
  const sources = ['a', 'b', 'c'].map((id) => stage.peer(id, id, [MANIFEST]))
  const peer = stage.peer('d', 'here')
  const came = groupsOf(peer)
  const fetched = pull(stage, peer, sources)
  stage.world.run(60_000)
  const { wireBytes, links } = got(t, fetched)
  t.deepEqual(came.toSorted(ascending), range(0, GROUPS))
  t.true(wireBytes < GROUPS * GROUP_BYTES * 1.01, `${wireBytes} bytes`)
  t.true(links.filter((each) => each.wireBytes > GROUP_BYTES).length >= 2, JSON.stringify(links))
  t.deepEqual(peer.manifests.list(), [image.manifest.image])
})

for (const seed of process.env['GODWIT_LONG'] === '1' ? [1, 2, 3, 4, 5, 6] : [1])
  test(`what came of a manifest before a cut is not asked for again, seed ${seed}`, (t) => {
    const stage = new Stage(seed, { uplinkMbit: 40 })
    const source = stage.peer('a', 'there', [MANIFEST])
    let peer = stage.peer('b', 'here')
    const groups: number[] = []
    for (let life = 0; life < 3; life++) {
      const came = groupsOf(peer)
      const fetched = pull(stage, peer, [source])
      while (came.length === 0 && stage.world.nowMs < 60_000) stage.world.run(stage.world.nowMs + 20)
      stage.world.run(stage.world.nowMs + 70 * seed)
      t.is(fetched.outcome, undefined)
      groups.push(...came)
      peer = stage.restart(peer)
    }
    const came = groupsOf(peer)
    const fetched = pull(stage, peer, [source])
    stage.world.run(stage.world.nowMs + 60_000)
    const { wireBytes } = got(t, fetched)
    t.true(groups.length >= 3)
    t.true(wireBytes < (GROUPS - groups.length) * GROUP_BYTES * 1.01)
    t.deepEqual([...groups, ...came].toSorted(ascending), range(0, GROUPS))
  })

test('a source that goes away leaves its groups to another', (t) => {
  const stage = new Stage(4, { uplinkMbit: 40 })
  const sources = ['a', 'b'].map((id) => stage.peer(id, id, [MANIFEST]))
  const peer = stage.peer('c', 'here')
  const came = groupsOf(peer)
  const fetched = pull(stage, peer, sources)
  stage.world.run(1_000)
  stage.network.crash('a', 'power')
  stage.world.run(60_000)
  got(t, fetched)
  t.deepEqual(came.toSorted(ascending), range(0, GROUPS))
})

test('a source of the first version sends all of it as one stream', (t) => {
  const stage = new Stage(5, { uplinkMbit: 100 })
  const form = Buffer.concat([...encodeManifest(image.manifest)])
  const old = stranger(stage, (channel, said) => {
    if (said.kind !== 'hello') return
    for (const { at, data } of parts(form, SWARM_PART_BYTES))
      channel.send(encode({ kind: 'manifest', total: form.length, at, data }))
  })
  const peer = stage.peer('a', 'here')
  acquaint(stage, 'a', old.id)
  const fetched = pull(stage, peer, [old])
  stage.world.run(60_000)
  got(t, fetched)
})

test('a downloader of the first version is sent all of it as one stream', (t) => {
  const stage = new Stage(6)
  const source = stage.peer('a', 'there', [MANIFEST])
  const old = stranger(stage, () => {})
  acquaint(stage, 'a', old.id)
  const came: Uint8Array[] = []
  const kinds = new Set<string>()
  stage.network.peer(old.id)?.transport.open(source.id, PROTOCOL, (outcome) => {
    if (!outcome.ok) return t.fail(outcome.failure.code)
    outcome.value.onFrame((frame) => {
      const said = decode(frame)
      kinds.add(said.kind)
      if (said.kind === 'manifest') came.push(said.data)
    })
    const { image: wanted } = image.manifest
    outcome.value.send(encode({ kind: 'hello', image: wanted, manifest: true, gains: true }))
  })
  stage.world.run(60_000)
  t.true(Buffer.concat(came).equals(Buffer.concat([...encodeManifest(image.manifest)])))
  t.deepEqual([...kinds].toSorted(), ['have', 'manifest'])
})

const { bytes, chunkBytes, hashes } = image.manifest
const tree = { kind: 'tree', bytes, chunkBytes, tops: hashes.tops } as const
const LIES: [what: string, said: Message[]][] = [
  ['the tree of another image', [{ ...tree, bytes: bytes - 1 }]],
  ['a tree without its end', [{ ...tree, tops: hashes.tops.subarray(32) }]],
  ['a group before its tree', [{ kind: 'group', group: 0, total: 8, at: 0, data: new Uint8Array(8) }]],
  [
    'a group of zeros',
    [tree, { kind: 'group', group: 0, total: 8, at: 0, data: Buffer.from('0001000000000000', 'hex') }],
  ],
  ['a group that is no group', [tree, { kind: 'group', group: 1, total: 3, at: 0, data: new Uint8Array(3) }]],
  [
    'a group past the end',
    [tree, { kind: 'group', group: GROUPS, total: 3, at: 0, data: new Uint8Array(3) }],
  ],
]
for (const [what, said] of LIES)
  test(`who sends ${what} is banned, and the manifest comes from another`, (t) => {
    const stage = new Stage(7)
    const liar = stranger(stage, (channel, heard) => {
      if (heard.kind === 'hello') for (const each of said) channel.send(encode(each))
    })
    const honest = stage.peer('honest', 'there', [MANIFEST])
    const peer = stage.peer('a', 'here')
    acquaint(stage, 'a', liar.id, honest.id)
    const fetched = pull(stage, peer, [liar])
    stage.world.run(3_000)
    t.is(fetched.outcome, undefined)
    t.is(stage.network.counts.blames, 1)
    const again = pull(stage, peer, [liar, honest])
    stage.world.run(60_000)
    got(t, again)
    t.is(stage.network.counts.blames, 1)
  })
