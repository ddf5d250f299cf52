import test from 'ava'
import { ok } from '../../../protocols/outcome.ts'
import type { JobView } from '../../../node/views.ts'
import { fakeIo, jobView, refusing, type Replies, served, type } from './support.ts'

const MIB = 1024 ** 2
const done: JobView = {
  ...jobView,
  state: 'done',
  phase: 'done',
  endedAt: '2026-11-21T12:00:12.500Z',
  doneBytes: 100 * MIB,
  standstillMs: 3_210,
  result: { host: 'heron' },
}

/** A job whose news comes in an order that goes back now and then. */
const news: Partial<JobView>[] = [
  { phase: 'preparing' },
  { doneBytes: 10 * MIB, totalBytes: 90 * MIB, bytesPerSecond: 5 * MIB, etaSeconds: 18 },
  { doneBytes: 40 * MIB, totalBytes: 100 * MIB },
  { doneBytes: 30 * MIB, totalBytes: 100 * MIB },
  { doneBytes: 80 * MIB, totalBytes: 95 * MIB },
  { doneBytes: 90 * MIB },
]
const growing: Replies = {
  // Each news is seen four times: a look each 250 ms, news each second.
  'job.show': (_: unknown, call: number) => {
    const at = Math.floor((call - 1) / 4)
    return ok(at < news.length ? { ...jobView, ...news[at] } : done)
  },
}

test('a move waits, shows how it goes, and ends with its figures', async (t) => {
  const peer = await served(growing)
  const said = await type(peer, ['vm', 'move', 'web', '--to', 'hill', '--mode', 'cold'])
  t.is(said.exit, 0)
  t.is(
    said.stdout,
    'moved web in 12.5 s\n' +
      '  logical          256 MiB\n' +
      '  deduplicated      32 MiB\n' +
      '  compressed        30 MiB\n' +
      '  on the wire       31 MiB\n' +
      '  stood still        3.2 s\n' +
      '  host          heron\n',
  )
  t.deepEqual(peer.peer.asked[0], {
    method: 'vm.move',
    params: { name: 'web', to: 'hill', mode: 'cold' },
  })
  const shares = [...said.stderr.matchAll(/\((\d+)%\)/g)].map(([, share]) => Number(share))
  t.deepEqual(
    shares,
    shares.toSorted((a, b) => a - b),
  )
  t.regex(
    said.stderr,
    /move web: pulling, 10 MiB of 100 MiB \(10%\), 5 MiB\/s, 18s left, 31 MiB on the wire, 1 source\n/,
  )
  // 6 s of news: a line a second at most.
  t.true(said.stderr.trimEnd().split('\n').length <= 7, said.stderr)
  t.notRegex(said.stderr, /\r/)
  await peer.end()
})

test('with -o jsonl progress is JSON on stderr, with -o json stdout is the job', async (t) => {
  const peer = await served(growing)
  const lines = await type(peer, ['vm', 'move', 'web', '--to', 'hill', '-o', 'jsonl'])
  const shown = lines.stderr
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { kind: string; item: JobView })
  t.true(shown.length >= 3 && shown.every(({ kind }) => kind === 'progress'))
  const bytes = shown.map(({ item }) => item.doneBytes)
  t.deepEqual(
    bytes,
    bytes.toSorted((a, b) => a - b),
  )
  t.deepEqual(JSON.parse(lines.stdout), done)
  await peer.end()

  const again = await served({ 'job.show': done })
  const json = await type(again, ['image', 'import', 'debian', './x.raw', '-o', 'json'])
  t.deepEqual((JSON.parse(json.stdout) as { item: unknown }).item, done)
  t.like(again.peer.asked[0], { method: 'image.import', params: { name: 'debian', format: 'auto' } })
  const { path } = { path: '', ...(again.peer.asked[0]?.params as object) }
  t.regex(path, /^\/.*\/x\.raw$/)
  await again.end()
})

test('an NBD export to import is named to the peer as it was typed', async (t) => {
  const peer = await served({ 'job.show': done })
  const path = 'nbd+unix:///disk0?socket=/run/x.sock'
  await type(peer, ['image', 'import', 'debian', path, '-o', 'json'])
  t.like(peer.peer.asked[0], { method: 'image.import', params: { path } })
  await peer.end()
})

test('on a terminal one line is redrawn and taken away; --quiet shows none', async (t) => {
  const peer = await served(growing)
  const io = await type(peer, ['job', 'watch', jobView.id], fakeIo({ stderrTty: true, columns: 40 }))
  t.true(io.stderr.startsWith('\r\u001b[K'))
  t.true(io.stderr.endsWith('\r\u001b[K'))
  t.false(io.stderr.includes('\n'))
  t.true(io.stderr.split('\r\u001b[K').every((text) => text.length < 40))
  await peer.end()
  const quiet = await served(growing)
  t.is((await type(quiet, ['job', 'watch', jobView.id, '-q'])).stderr, '')
  await quiet.end()
})

test('--detach prints the id and nothing else', async (t) => {
  const peer = await served()
  const rows = [
    ['vm', 'move', 'web', '--to', 'hill'],
    ['image', 'import', 'x', 'y'],
    ['image', 'export', 'x', 'y'],
    ['image', 'verify', 'x'],
  ]
  for (const argv of rows) t.is((await type(peer, [...argv, '--detach'])).stdout, `${jobView.id}\n`)
  t.false(peer.peer.asked.some(({ method }) => method === 'job.show'))
  await peer.end()
})

test('a dry run of a move reads, and changes nothing', async (t) => {
  const { farPeer, siteView } = await import('./support.ts')
  const peer = await served({
    'site.list': [siteView, { ...siteView, name: 'hill', self: false }],
    'peer.show': farPeer,
  })
  const toSite = await type(peer, ['vm', 'move', 'web', '--to', 'hill', '--dry-run', '-o', 'json'])
  t.like((JSON.parse(toSite.stdout) as { item: object }).item, {
    vm: 'harbour/web',
    from: 'harbour/crane',
    to: 'hill',
    mode: 'cold',
  })
  const toPeer = await type(peer, ['vm', 'move', 'web', '--to', 'heron', '--dry-run'])
  t.regex(toPeer.stdout, /^to: +hill\/heron$/m)
  t.true(peer.peer.asked.every(({ method }) => ['vm.show', 'site.list', 'peer.show'].includes(method)))
  await peer.end()
  const here = await served()
  const said = await type(here, ['vm', 'move', 'web', '--to', 'crane', '--dry-run'])
  t.is(said.exit, 4)
  t.regex(said.stderr, /web cannot move: it is on crane already/)
  await here.end()
})

test('Ctrl-C detaches: the job goes on, and it is said how to get back', async (t) => {
  const peer = await served()
  const io = fakeIo()
  io.onSleep = (sleeps) => void (sleeps === 2 && io.interrupt())
  const said = await type(peer, ['vm', 'move', 'web', '--to', 'hill'], io)
  t.is(said.exit, 130)
  t.regex(
    said.stderr,
    /Job 01JD000000000000000000JOB1 goes on\. Watch it: godwit job watch .*Cancel it: godwit job cancel/,
  )
  t.false(peer.peer.asked.some(({ method }) => method === 'job.cancel'))
  await peer.end()
})

test('a second Ctrl-C cancels, and waits until it is so', async (t) => {
  let cancelled = false
  const peer = await served({
    'job.cancel': () => {
      cancelled = true
      return ok(jobView)
    },
    'job.show': () => ok(cancelled ? { ...jobView, state: 'cancelled', error: 'cancelled' } : jobView),
  })
  const io = fakeIo()
  io.onSleep = (sleeps) => void ((sleeps === 2 || sleeps === 4) && io.interrupt())
  const said = await type(peer, ['job', 'watch', jobView.id], io)
  t.is(said.exit, 130)
  t.true(cancelled)
  t.regex(said.stderr, /Cancelling\.\nJob .* is cancelled\.\n$/)
  await peer.end()
})

test('a job that failed fails the command as it failed', async (t) => {
  const failed: JobView = {
    ...jobView,
    state: 'failed',
    code: 'NO_SOURCE',
    error: 'nobody in sight holds 3 chunks',
  }
  const peer = await served({ 'job.show': failed })
  const said = await type(peer, ['image', 'verify', 'x', '-o', 'json'])
  t.is(said.exit, 4)
  t.is(said.stdout, '')
  t.like(JSON.parse(said.stderr.trimEnd().split('\n').at(-1) ?? ''), {
    kind: 'error',
    code: 'NO_SOURCE',
    message: 'nobody in sight holds 3 chunks',
    next: `godwit job show ${jobView.id}`,
  })
  await peer.end()
})

test('waiting has an end; the job has not', async (t) => {
  const peer = await served()
  const said = await type(peer, ['job', 'watch', jobView.id, '--timeout', '2s'])
  t.is(said.exit, 5)
  t.regex(said.stderr, /goes on\. Watch it/)
  await peer.end()
})

test('a peer that is busy or away for a moment does not end the watching; one that forgot the job does', async (t) => {
  const peer = await served({
    'job.show': (_: unknown, call: number) => {
      if (call === 1) return refusing({ code: 'PEER_UNREACHABLE', peer: 'crane', afterMs: 1 })()
      if (call === 2) return refusing({ code: 'STOPPING', peer: 'crane' })()
      return ok(done)
    },
  })
  t.is((await type(peer, ['job', 'watch', jobView.id])).exit, 0)
  await peer.end()
  const gone = await served({ 'job.show': refusing({ code: 'NOT_FOUND', what: 'job', name: 'x' }) })
  t.is((await type(gone, ['job', 'watch', 'x'])).exit, 8)
  await gone.end()
})

test('--watch says each change once, outlives the peer, and ends with 130', async (t) => {
  const { vmView, stoppedVm } = await import('./support.ts')
  const answers = [
    [vmView],
    [{ ...vmView, ageMs: 400 }],
    [{ ...vmView, state: 'paused' }, stoppedVm],
    undefined,
    [stoppedVm],
  ]
  const peer = await served({
    'vm.list': (_: unknown, call: number) => {
      const answer = answers[Math.min(call, answers.length) - 1]
      return answer === undefined ? refusing({ code: 'STOPPING', peer: 'crane' })() : ok(answer)
    },
  })
  const io = fakeIo()
  io.onSleep = (sleeps) => void (sleeps === answers.length && io.interrupt())
  const said = await type(peer, ['vm', 'list', '-w'], io)
  t.is(said.exit, 130)
  const changes = said.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { change: string; item: { name: string } })
  t.deepEqual(
    changes.map(({ change, item }) => `${change} ${item.name}`),
    ['added web', 'changed web', 'added db', 'removed web'],
  )
  t.is(said.stderr, 'the peer does not answer; still trying\nthe peer is back\n')
  await peer.end()
})
