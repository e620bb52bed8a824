/** A program and its arguments, as they are given to the kernel: no shell in between. */
export interface QemuCommand {
  readonly file: string
  readonly args: readonly string[]
  /** An open file that the program is given as its standard input. @default none */
  readonly stdin?: number
}

/** What only a run knows: the accelerator, the sockets, the overlay, the ports. */
export interface Wiring {
  readonly qemuPath: string
  readonly accelerator: 'kvm' | 'tcg'
  readonly sandbox: boolean
  readonly overlay: string | undefined
  /** A file with what opens the image below the overlay, where that is encrypted. */
  readonly diskSecretFile?: string | undefined
  readonly qmpSocket: string
  readonly serialSocket: string
  readonly serialLog: string
  readonly agentSocket: string
  readonly residentSocket: string
  /** The card's address, where the author has not said it. */
  readonly mac: string
  /** Files, each with one SMBIOS OEM string: their content is secret and must not stand in the command line. */
  readonly smbiosFiles: readonly string[]
  /** The host port of each of the spec's forwards, in their order. */
  readonly hostPorts: readonly number[]
  /** The file that the guest's RAM is in, and whether what the guest writes goes to it. */
  readonly memoryFile?: { readonly path: string; readonly isWritten: boolean } | undefined
  /** The guest's devices and RAM are those of another, which comes by QMP's `migrate-incoming`. */
  readonly isIncoming?: boolean
}
