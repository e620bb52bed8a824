/** What the program of an initial RAM disk does to a root file system: as data, which is made a program or a script. */
export type InitStep = MountStep | DirectoryStep | NetworkStep

export interface MountStep {
  readonly does: 'mount'
  readonly source: string
  readonly target: string
  readonly type: string
  readonly flags: ReadonlyArray<'nosuid' | 'nodev'>
  readonly data: string
}

export interface DirectoryStep {
  readonly does: 'make a directory'
  readonly path: string
  readonly mode: number
}

/** Raises the loopback, and gives the first card an address. */
export interface NetworkStep {
  readonly does: 'set up the network'
  readonly address: string
  readonly netmask: string
  readonly gateway: string
}

export function mount(
  source: string,
  target: string,
  type: string,
  flags: MountStep['flags'],
  data = '',
): MountStep {
  return { does: 'mount', source, target, type, flags, data }
}

export function makeDir(path: string, mode: number): DirectoryStep {
  return { does: 'make a directory', path, mode }
}
