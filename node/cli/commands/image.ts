/** Images: immutable disks that VMs start from. */
import { resolve } from 'node:path'
import type { Command } from '../command.ts'
import { IMAGE_LOCATIONS, IMAGE_PULL } from './image-pull.ts'
import { DETACH, JOB_TIMEOUT, start } from './job.ts'

const IMAGE = { name: 'image', summary: 'name or id of the image', complete: 'image' } as const

export const IMAGE_COMMANDS: readonly Command[] = [
  {
    name: 'image import',
    summary: 'Take a disk image from a file, a block device or an NBD export',
    about:
      'It is read by the peer, on its machine. Holes and zeros cost nothing, chunks that are here already little. ' +
      'A device that is mounted, or a disk that a guest writes to, is refused.',
    arguments: [
      { name: 'name', summary: 'what to call it at this site' },
      {
        name: 'path',
        summary: 'raw or qcow2 file, block device, or nbd+unix:///NAME?socket=/PATH',
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
      DETACH,
    ],
    examples: [
      ['image import debian-12 ./debian-12.qcow2', 'a cloud image'],
      ['image import data ./data.raw --detach', 'without waiting; prints the id of the job'],
      ["image import old 'nbd+unix:///?socket=/run/old.sock'", 'what an NBD server exports'],
    ],
    timeout: JOB_TIMEOUT,
    run: (session) =>
      start(session, 'image.import', {
        name: session.word('name'),
        path: located(session.io.cwd, session.word('path')),
        format: session.text('format') ?? 'auto',
      }),
  },
  IMAGE_PULL,
  IMAGE_LOCATIONS,
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
  typed.startsWith('nbd+unix:') ? typed : resolve(cwd, typed)
