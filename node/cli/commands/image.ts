/** Images: immutable disks that VMs start from. */
import { resolve } from 'node:path'
import type { Command } from '../command.ts'
import { IMAGE_LOCATIONS, IMAGE_PULL } from './image-pull.ts'
import { IMAGE_PUBLISH } from './image-torrent.ts'
import { DETACH, JOB_TIMEOUT, start } from './job.ts'

const IMAGE = { name: 'image', summary: 'name or id of the image', complete: 'image' } as const

export const IMAGE_COMMANDS: readonly Command[] = [
  {
    name: 'image import',
    summary: 'Take a disk image from a file, a device, an NBD export, a torrent or a web server',
    about:
      'It is read by the peer, on its machine. Holes and zeros cost nothing, chunks that are here already little. ' +
      'A device that is mounted, or a disk that a guest writes to, is refused. From outside (a magnet link, a .torrent, an ' +
      'http or https URL of one or of an image) it comes straight into the chunk store; what was interrupted goes on when the ' +
      'same command is given again.',
    arguments: [
      { name: 'name', summary: 'what to call it at this site' },
      {
        name: 'path',
        summary: 'file, block device, nbd+unix:///NAME?socket=/PATH, magnet link, .torrent, or URL',
        complete: 'path',
      },
    ],
    options: [
      {
        flags: '--format <format>',
        summary: 'what the file is',
        choices: ['auto', 'raw', 'qcow2'],
        otherwise: 'auto',
      },
      { flags: '--file <file>', summary: 'path or number of the file in a torrent that has more than one' },
      { flags: '--peer <address:port>', summary: 'a BitTorrent client to ask', repeat: true },
      { flags: '--dht', summary: 'ask the public DHT for BitTorrent clients' },
      { flags: '--checksum <sum>', summary: 'sha256:HEX or sha512:HEX of the file from outside' },
      DETACH,
    ],
    examples: [
      ['image import debian-12 ./debian-12.qcow2', 'a cloud image'],
      ['image import debian-12 https://example.org/debian-12.qcow2', 'goes on where it was cut off'],
      ['image import debian-12 ./debian-12.torrent --peer 192.0.2.7:6881', 'from a BitTorrent client'],
      ['image import data ./data.raw --detach', 'without waiting; prints the id of the job'],
      ["image import old 'nbd+unix:///?socket=/run/old.sock'", 'what an NBD server exports'],
    ],
    timeout: JOB_TIMEOUT,
    run: (session) =>
      start(session, 'image.import', {
        name: session.word('name'),
        path: located(session.io.cwd, session.word('path')),
        format: session.text('format') ?? 'auto',
        file: session.text('file') ?? '',
        peers: session.list('peer'),
        dht: session.has('dht'),
        checksum: session.text('checksum') ?? '',
      }),
  },
  IMAGE_PULL,
  IMAGE_LOCATIONS,
  ...IMAGE_PUBLISH,
  {
    name: 'image list',
    aliases: ['ls'],
    summary: 'List the images of this site',
    examples: [['image list -o wide', 'with the chunks that this peer holds']],
    lists: true,
    timeout: '30s',
    method: 'image.list',
  },
  {
    name: 'image show',
    summary: 'Show one image',
    arguments: [IMAGE],
    examples: [['image show debian-12', 'its size, its chunks, and the VMs that use it']],
    timeout: '30s',
    method: 'image.show',
    params: ({ image }) => ({ name: image }),
  },
  {
    name: 'image export',
    summary: 'Write an image to a raw file, byte for byte',
    about: 'The file is written by the peer, on its machine; chunks it lacks are fetched first.',
    arguments: [IMAGE, { name: 'path', summary: 'file to write', complete: 'path' }],
    options: [DETACH],
    examples: [['image export debian-12 ./debian-12.raw', 'sparse where the image is zero']],
    timeout: JOB_TIMEOUT,
    run: (session) =>
      start(session, 'image.export', {
        name: session.word('image'),
        path: resolve(session.io.cwd, session.word('path')),
      }),
  },
  {
    name: 'image verify',
    summary: 'Read every chunk of an image and check it against its hash',
    arguments: [IMAGE],
    options: [DETACH],
    examples: [['image verify debian-12', 'fails when a chunk is missing or damaged']],
    timeout: JOB_TIMEOUT,
    run: (session) => start(session, 'image.verify', { name: session.word('image') }),
  },
]

/** The peer runs in another folder; a URI is the same in all. */
const located = (cwd: string, typed: string): string =>
  /^(nbd\+unix:|magnet:|https?:\/\/)/i.test(typed) ? typed : resolve(cwd, typed)
