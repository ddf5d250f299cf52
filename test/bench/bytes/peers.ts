/** What others send for the same pair of images. Each gives the bytes of its wire format, both ways, or says why it cannot. */
import { execFile } from 'node:child_process'
import { hash } from 'node:crypto'
import { chmod, copyFile, mkdir, open, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { constants, zstdCompressSync } from 'node:zlib'
import type { Pair } from './pairs.ts'

const run = promisify(execFile)
const MIB = 1024 ** 2
const FIXED_BYTES = 4 * MIB
/** None of them takes longer on a disk of some hundred MiB. */
const PEER_MS = 120_000

/** Bytes, or why there are none. */
export type Answer = number | string

/**
 * casync: 64 KiB on average, cut by content, each chunk compressed with zstd: what a store has to hand out to whoever has
 * the chunks of all held images, and the index.
 */
export async function casync({ held, target }: Pair, folder: string): Promise<Answer> {
  const make = async (image: string, store: string): Promise<string> => {
    const index = join(folder, `${store}.caibx`)
    const where = [`--store=${join(folder, store)}.castr`, '--compression=zstd']
    await run('casync', ['make', ...where, index, image], { maxBuffer: MIB })
    return index
  }
  try {
    for (const image of held) await make(image, 'held')
    const index = await make(target, 'target')
    const known = await chunks(join(folder, 'held.castr'))
    let bytes = (await stat(index)).size
    for (const [name, size] of await chunks(join(folder, 'target.castr'))) if (!known.has(name)) bytes += size
    return bytes
  } catch (error) {
    return whyNot(error)
  } finally {
    for (const name of ['held', 'target'])
      for (const kind of ['castr', 'caibx'])
        await rm(join(folder, `${name}.${kind}`), { recursive: true, force: true })
  }
}

async function chunks(store: string): Promise<Map<string, number>> {
  const sizes = new Map<string, number>()
  for (const entry of await readdir(store, { recursive: true }))
    if (entry.endsWith('.cacnk')) sizes.set(entry, (await stat(join(store, entry))).size)
  return sizes
}

/** `rsync -z` over a pipe, as over ssh, onto a copy of the nearest image held; its own count of both ways. */
export async function rsync({ held: [base = ''], target }: Pair, folder: string): Promise<Answer> {
  const there = join(folder, 'there')
  const shell = join(folder, 'shell')
  try {
    await mkdir(there)
    await copyFile(base, join(there, 'disk'))
    // rsync calls it as it would call ssh: a host, then the command to run there.
    await writeFile(shell, '#!/bin/sh\nshift\nexec "$@"\n')
    await chmod(shell, 0o755)
    const from = join(folder, 'disk')
    await copyFile(target, from)
    const options = ['-z', '--zc=zstd', '--no-whole-file', '--ignore-times', '--stats', '-e', shell]
    const { stdout } = await run('rsync', [...options, from, `there:${there}/disk`], { maxBuffer: MIB })
    return count(stdout, 'sent') + count(stdout, 'received')
  } catch (error) {
    return whyNot(error)
  } finally {
    await rm(there, { recursive: true, force: true })
    await rm(join(folder, 'disk'), { force: true })
  }
}

/** zsync from a web server with ranges onto the nearest image held, of a target that is compressed; all bytes of HTTP. */
export async function zsync({ held: [base = ''], target }: Pair, folder: string): Promise<Answer> {
  const there = join(folder, 'web')
  let bytes = 0
  const server = createServer((request, response) => void answer(there, request, response))
  server.on('connection', (socket) => {
    socket.on('close', () => (bytes += socket.bytesRead + socket.bytesWritten))
  })
  try {
    await mkdir(there)
    await copyFile(target, join(there, 'disk'))
    await run('zsyncmake', ['-z', '-o', 'disk.zsync', '-u', 'disk.gz', 'disk'], {
      cwd: there,
      maxBuffer: MIB,
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const from = `http://127.0.0.1:${port}/disk.zsync`
    await run('zsync', ['-q', '-i', base, '-o', join(folder, 'disk'), from], {
      cwd: folder,
      maxBuffer: 16 * MIB,
      timeout: PEER_MS,
    })
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    return bytes
  } catch (error) {
    return whyNot(error)
  } finally {
    server.close()
    await rm(there, { recursive: true, force: true })
    await rm(join(folder, 'disk'), { force: true })
  }
}

/** GET with any ranges, as RFC 9110 (14.6) has it: one as it is, several in parts. */
async function answer(
  folder: string,
  { url = '', headers }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const file = await open(join(folder, basename(url))).catch(() => undefined)
  if (file === undefined) return void response.writeHead(404).end()
  const { size } = await file.stat()
  const ranges = [...(headers.range ?? '').matchAll(/(\d+)-(\d*)/g)].map(([, from = '0', until = '']) => ({
    from: Number(from),
    until: until === '' ? size - 1 : Math.min(size - 1, Number(until)),
  }))
  const read = async ({ from, until }: { from: number; until: number }): Promise<Buffer> => {
    const content = Buffer.alloc(until - from + 1)
    await file.read(content, 0, content.length, from)
    return content
  }
  const [range, ...more] = ranges
  const about = (each: { from: number; until: number }): string => `bytes ${each.from}-${each.until}/${size}`
  if (range === undefined) {
    response.writeHead(200, { 'content-length': size })
    response.write(await read({ from: 0, until: size - 1 }))
  } else if (more.length === 0) {
    const content = await read(range)
    response.writeHead(206, { 'content-length': content.length, 'content-range': about(range) })
    response.write(content)
  } else {
    const parts: Buffer[] = []
    for (const each of ranges)
      parts.push(Buffer.from(`\r\n--part\r\ncontent-range: ${about(each)}\r\n\r\n`), await read(each))
    const body = Buffer.concat([...parts, Buffer.from('\r\n--part--\r\n')])
    // With its length: zsync does not read what comes in chunks.
    const type = 'multipart/byteranges; boundary=part'
    response.writeHead(206, { 'content-type': type, 'content-length': body.length })
    response.write(body)
  }
  response.end()
  await file.close()
}

function count(stats: string, way: 'sent' | 'received'): number {
  const [, digits = ''] = new RegExp(`Total bytes ${way}: ([\\d,]+)`).exec(stats) ?? []
  if (digits === '') throw new Error('rsync told no figures')
  return Number(digits.replaceAll(',', ''))
}

/** Chunks of 4 MiB at fixed places, zstd-3, as Proxmox Backup Server cuts images; 32 bytes of hash for each chunk. */
export async function fixed4m({ held, target }: Pair): Promise<number> {
  const known = new Set<string>()
  for (const image of held) for await (const { id } of fixed(image)) known.add(id)
  let bytes = 0
  for await (const { id, content } of fixed(target)) {
    bytes += 32
    if (known.has(id)) continue
    known.add(id)
    bytes += zstdCompressSync(content, { params: { [constants.ZSTD_c_compressionLevel]: 3 } }).length
  }
  return bytes
}

async function* fixed(path: string): AsyncGenerator<{ id: string; content: Buffer }> {
  const file = await open(path)
  try {
    const content = Buffer.alloc(FIXED_BYTES)
    for (;;) {
      const { bytesRead } = await file.read(content, 0, FIXED_BYTES, null)
      if (bytesRead === 0) return
      const some = content.subarray(0, bytesRead)
      yield { id: hash('sha256', some), content: some }
    }
  } finally {
    await file.close()
  }
}

function whyNot(error: unknown): string {
  const { code, path, message } = error as NodeJS.ErrnoException
  return code === 'ENOENT' && path !== undefined ? `${path} is not installed` : (message.split('\n')[0] ?? '')
}
