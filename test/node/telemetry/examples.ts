import type { Digest, Sample } from '../../../protocols/telemetry/messages.ts'

export const PEERS = {
  quay: '12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf',
  crane: '12D3KooWA8EXV3KjBxEU5EnsPfneLx84vMWAtTBQBeyooN82KSuX',
  tower: '12D3KooWEHwyT2CxQEBHkAXpCDrnRYv1yFKmXyeb6rtH3cGeQjtG',
} as const
export const HARBOUR = 'harbour1'
export const HILL = 'hill0001'

const VM = `${HARBOUR}-01JD6ZXQ9Y3V5T7W8K2M4N6P0R`

export const exampleSample = (change: Partial<Sample> = {}): Sample => ({
  author: PEERS.quay,
  life: 1_795_266_808_000,
  sequence: 42,
  site: HARBOUR,
  version: '0.1.0',
  driver: 'kvm',
  cpus: 2,
  cpuLoad: 0.25,
  loadAverage: [0.5, 1.25, 0.75],
  memoryTotalBytes: 25_276_502_016,
  memoryUsedBytes: 1_934_467_072,
  diskTotalBytes: 270_553_174_016,
  diskFreeBytes: 84_261_187_584,
  receivedBytes: 588_836_812,
  sentBytes: 1_888_041,
  cpuPressure: { some: 0.125, full: 0 },
  memoryPressure: { some: 0, full: 0 },
  ioPressure: { some: 0.5 },
  bootMs: 1_795_266_000_000,
  vmsTotal: 1,
  vms: [
    {
      id: VM,
      name: 'till',
      state: 'running',
      epoch: '1.1',
      why: '',
      cpuSeconds: 12.5,
      memoryBytes: 268_435_456,
      diskReadBytes: 4096,
      diskWrittenBytes: 8192,
    },
  ],
  jobs: ['{"id":"01JD6ZXQ9Y3V5T7W8K2M4N6P0R"}'],
  ...change,
})

export const exampleDigest = (change: Partial<Digest> = {}): Digest => ({
  author: PEERS.quay,
  life: 1_795_266_808_000,
  sequence: 7,
  site: HARBOUR,
  term: 3,
  peers: 2,
  peersAlive: 2,
  cpus: 4,
  memoryMiB: 42_184,
  memoryCommittedMiB: 256,
  vmsTotal: 1,
  vmsRunning: 1,
  vms: [
    {
      id: VM,
      name: 'till',
      host: PEERS.quay,
      hostName: 'quay',
      epoch: '1.1',
      wanted: 'running',
      state: 'running',
      cpus: 1,
      memoryMiB: 256,
    },
  ],
  ...change,
})
