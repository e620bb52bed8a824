import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { OpenFolder } from '../common/files/open-folder.js'
import { requireFiles } from '../common/host-error.js'
import { type Privileges, setPrivileges, tieHelper } from '../common/process/set-privileges.js'
import { vmError } from '../errors.js'
import { pickQemuEnvironment } from './environment.js'

/** swtpm listens within some tens of milliseconds; a busy host takes seconds. */
const START_MS = 20_000
const LOOK_MS = 10

const SOCKET = 'tpm.sock'

/** As whom it runs. Where it goes on when this process ends, it ends with the QEMU that it serves. */
export interface TpmSettings extends Privileges {
  /** The program swtpm. */
  readonly program: string
  readonly version: '1.2' | '2.0'
  /** The folder with what the TPM keeps: the same for all power-ons of a machine. */
  readonly stateDir: string
  /** The folder of its socket. */
  readonly sockets: OpenFolder
}

/** A TPM in a process of its own, which serves one QEMU after the other. It ends with the QEMU that it serves. */
export class TpmEmulator {
  readonly #settings: TpmSettings
  #running: { readonly ended: Promise<unknown>; kill(): void; leave(): void } | undefined

  constructor(settings: TpmSettings) {
    this.#settings = settings
  }

  get socket(): string {
    return join(this.#settings.sockets.path, SOCKET)
  }

  /**
   * Starts it for the next QEMU.
   * @throws {InfrastructureError} QEMU_FAILED when swtpm does not come to listen.
   */
  async start(): Promise<void> {
    await this.stop()
    const { execa } = await import('execa')
    const { program, version, stateDir, sockets, endsWithUs, user } = this.#settings
    const { socket } = this
    await sockets.remove(SOCKET)
    const args = [
      'socket',
      ...(version === '2.0' ? ['--tpm2'] : []),
      ...['--tpmstate', `dir=${stateDir},mode=0600`],
      ...['--ctrl', `type=unixio,path=${socket},mode=0600`],
      '--terminate',
    ]
    const helper = { file: program, args }
    const command = endsWithUs
      ? await tieHelper(helper, { user })
      : await setPrivileges(helper, { endsWithUs, user })
    requireFiles()
    const child = execa(command.file, command.args, {
      stdin: 'ignore',
      all: true,
      reject: false,
      cleanup: endsWithUs,
      detached: !endsWithUs,
      env: pickQemuEnvironment(process.env, user),
      extendEnv: false,
    })
    let failure: string | undefined
    const ended = child.then(({ all, exitCode, signal }) => {
      failure = `${all || '(nothing was said)'}\n(exit code ${exitCode ?? signal})`
    })
    this.#running = {
      ended,
      kill: () => void child.kill('SIGKILL'),
      leave: () => {
        child.unref()
      },
    }
    const until = performance.now() + START_MS
    while (!(await exists(socket))) {
      if (failure !== undefined || performance.now() > until) {
        await this.stop()
        throw vmError('QEMU_FAILED', {
          summary: 'The TPM did not start: swtpm does not listen.',
          evidence: [{ label: 'What swtpm said', text: failure ?? '(it still runs)' }],
          hint: `see whether it starts by hand: ${[program, ...args].join(' ')}`,
        })
      }
      await sleep(LOOK_MS)
    }
  }

  /** Ends it; one that has ended with its QEMU is waited for. */
  async stop(): Promise<void> {
    this.#running?.kill()
    await this.#running?.ended
    this.#running = undefined
  }

  /** Lets go of one that is to go on without this process. */
  leave(): void {
    this.#running?.leave()
    this.#running = undefined
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
