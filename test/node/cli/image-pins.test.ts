import test from 'ava'
import { fakeIo, served, type } from './support.ts'

const MIB = 1024 ** 2
const pinned = {
  image: 'ab'.repeat(32),
  name: 'debian-12',
  peer: 'crane',
  pinned: true,
  chunks: 10,
  missing: 0,
}
const chunks = {
  kind: 'chunks',
  id: '',
  name: '4 chunks',
  bytes: 5 * MIB,
  drops: true,
  why: 'no image names them then',
}
const goes = {
  kind: 'image',
  id: 'cd'.repeat(32),
  name: '',
  bytes: 7 * MIB,
  drops: true,
  why: 'nothing refers to it',
}
const stays = { ...goes, id: 'ef'.repeat(32), name: 'old', drops: false, why: 'no other copy is known' }

test('a pin says where it is, and warns of what is missing there', async (t) => {
  const peer = await served({ 'image.pin': { ...pinned, peer: 'heron', missing: 3 } })
  const said = await type(peer, ['image', 'pin', 'debian-12', '--peer', 'heron'])
  t.is(said.exit, 0)
  t.regex(said.stderr, /heron lacks 3 of its 10 chunks/)
  t.deepEqual(peer.peer.asked, [
    { method: 'image.pin', params: { name: 'debian-12', undo: false, peer: 'heron' } },
  ])
  await type(peer, ['image', 'unpin', 'debian-12'])
  t.like(peer.peer.asked.at(-1), { params: { name: 'debian-12', undo: true } })
  await peer.end()
})

test('a dry run of prune lists what goes and what stays, and asks nobody to drop anything', async (t) => {
  const peer = await served({ 'image.prune': [goes, stays, chunks] })
  const said = await type(peer, ['image', 'prune', '--dry-run'])
  t.is(said.exit, 0)
  t.regex(said.stdout, /image +cdcdcdcdcdcd +7 MiB +goes +nothing refers to it/)
  t.regex(said.stdout, /image +old +7 MiB +stays +no other copy is known/)
  t.regex(said.stderr, /5 MiB would come back/)
  t.deepEqual(peer.peer.asked, [{ method: 'image.prune', params: { force: false, dryRun: true } }])
  await peer.end()
})

test('prune asks before it drops, and needs --yes where nobody can be asked', async (t) => {
  const peer = await served({ 'image.prune': [goes, chunks] })
  const refused = await type(peer, ['image', 'prune'])
  t.is(refused.exit, 2)
  t.regex(refused.stderr, /needs --yes/)
  t.true(peer.peer.asked.every(({ params }) => (params as { dryRun: boolean }).dryRun))

  const no = await type(peer, ['image', 'prune'], fakeIo({ stdinTty: true, stderrTty: true, stdin: 'n' }))
  t.is(no.exit, 1)
  t.regex(no.stderr, /Take cdcdcdcdcdcd off this peer\? 5 MiB comes back\. \[y\/N\]/)

  const yes = await type(peer, ['image', 'prune', '--yes', '--force'])
  t.is(yes.exit, 0)
  t.deepEqual(peer.peer.asked.at(-1)?.params, { force: true, dryRun: false })
  t.regex(yes.stderr, /5 MiB came back/)
  await peer.end()
})

test('where nothing goes, prune says so and asks nothing', async (t) => {
  const peer = await served({
    'image.prune': [stays, { ...chunks, name: '0 chunks', bytes: 0, drops: false }],
  })
  const said = await type(peer, ['image', 'prune'])
  t.is(said.exit, 0)
  t.regex(said.stderr, /nothing goes/)
  t.is(peer.peer.asked.length, 1)
  await peer.end()
})

test('kept copies are listed, and which of them may be the only one', async (t) => {
  const copy = {
    name: 'x.1.1',
    vm: 'aaaaaaa1-01JD0000000000000000000001',
    since: '2026-11-20T12:00:00.000Z',
    bytes: 3 * MIB,
    images: ['cd'.repeat(32)],
    elsewhere: 'heron',
  }
  const peer = await served({ 'image.kept': [copy, { ...copy, name: 'x.1.2', images: [], elsewhere: '' }] })
  const said = await type(peer, ['image', 'kept'])
  t.is(said.exit, 0)
  t.regex(said.stdout, /3 MiB +heron +cdcdcdcdcdcd/)
  t.regex(said.stdout, /3 MiB +not known: it stays/)
  await peer.end()
})
