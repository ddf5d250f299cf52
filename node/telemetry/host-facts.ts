/** Port: what a host measures of itself. Synchronous and cheap: it is asked every SAMPLE_MS. */
import type { HostSample } from '../../protocols/telemetry/messages.ts'

export type HostFacts = {
  sample(): HostSample
  /** Of the file system that the data folder lies on; zeros when it cannot be told. */
  disk(): { readonly totalBytes: number; readonly freeBytes: number }
  /** What it runs on now; a host that has no battery runs on mains. */
  power(): 'mains' | 'battery'
  /** What of this host may be promised to VMs, unless its operator says otherwise. Asked once, at start. */
  capacity(): Capacity
}

export type Capacity = { readonly cpus: number; readonly memoryMiB: number; readonly diskBytes: number }
