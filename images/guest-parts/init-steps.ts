/**
 * Step of an initrd's init program on a root file system, as data that is compiled to a program or
 * a script.
 */
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

/** Brings up the loopback interface and sets the address of the first network card. */
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
