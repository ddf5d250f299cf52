/** Publishing images for BitTorrent clients. */
import { resolve } from 'node:path'
import type { Command } from '../command.ts'
import { usage } from '../failures.ts'
import { DETACH, JOB_TIMEOUT, start } from './job.ts'

const IMAGE = { name: 'image', summary: 'name or id of the image', complete: 'image' } as const

export const IMAGE_PUBLISH: readonly Command[] = [
  {
    name: 'image publish',
    summary: 'Serve an image to any BitTorrent client, and write its .torrent',
    about:
      'It is served by this peer, straight from its chunk store, until image unpublish: after a restart too. It listens on the ' +
      'address that is named, and nowhere else; anybody who reaches that address and knows the .torrent can read the image. ' +
      'Nobody is told of it but the trackers that are named.',
    arguments: [IMAGE],
    options: [
      {
        flags: '--torrent <file>',
        summary: 'where the peer writes the .torrent (required)',
        complete: 'path',
      },
      {
        flags: '--listen <address:port>',
        summary: 'address of this host; without it torrent.listen of the configuration',
      },
      { flags: '--tracker <url>', summary: 'tell this tracker, over http, https or udp', repeat: true },
      { flags: '--private', summary: 'clients ask the trackers for others, and nobody else' },
      DETACH,
    ],
    examples: [
      [
        'image publish debian-12 --torrent debian-12.torrent --listen 192.0.2.7:6881',
        'prints a magnet link with that address, too',
      ],
      [
        'image publish debian-12 --torrent d.torrent --tracker udp://tracker.example.org:6969',
        'found by its tracker; listens where the configuration says',
      ],
    ],
    timeout: JOB_TIMEOUT,
    run: (session) => {
      const file = session.text('torrent')
      if (file === undefined) return usage('it has to be said where the .torrent goes: --torrent FILE')
      return start(session, 'image.publish', {
        name: session.word('image'),
        path: resolve(session.io.cwd, file),
        listen: session.text('listen') ?? '',
        trackers: session.list('tracker'),
        private: session.has('private'),
      })
    },
  },
  {
    name: 'image unpublish',
    summary: 'Serve an image to BitTorrent clients no longer',
    arguments: [IMAGE],
    examples: [['image unpublish debian-12', 'its address is closed when nothing else is served on it']],
    timeout: '30s',
    method: 'image.unpublish',
    params: ({ image }) => ({ name: image }),
  },
]
