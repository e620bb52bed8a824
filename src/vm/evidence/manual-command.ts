import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { quoteWord } from '../../common/process/shell-quote.js'
import { buildManualCommand } from '../../qemu/argv/build-command.js'
import type { Machine } from '../machine/machine.js'

/**
 * Returns the command that boots the same machine in a terminal, with console and monitor on the
 * terminal, `snapshot=on` instead of an overlay, and the same ports. It contains no keys: log in on
 * the console.
 */
export function formatManualCommand(machine: Machine): string {
  const { spec, host } = machine
  const tpmFolder = spec.tpm === undefined ? undefined : join(tmpdir(), `withvm-tpm-${machine.name}`)
  const { file, args } = buildManualCommand(spec, {
    qemuPath: host.qemu.path,
    accelerator: host.accelerator,
    hostPorts: machine.ports.numbers,
    mac: machine.identity.mac,
    furtherMacs: machine.identity.furtherMacs,
    firmware: host.firmware,
    tpmSocket: tpmFolder && join(tpmFolder, 'sock'),
  })
  const qemu = joinWords([file, ...args])
  if (tpmFolder === undefined) return qemu
  return `${startTpm(tpmFolder, spec.tpm?.version)} && ${qemu}`
}

/**
 * Returns the command that starts a new TPM, because the guest's own no longer exists. It ends with
 * its QEMU.
 */
function startTpm(folder: string, version: '1.2' | '2.0' | undefined): string {
  const state = ['--tpmstate', `dir=${folder},mode=0600`]
  const socket = ['--ctrl', `type=unixio,path=${join(folder, 'sock')},mode=0600`]
  const program = ['swtpm', 'socket', ...(version === '2.0' ? ['--tpm2'] : []), ...state, ...socket]
  return `${joinWords(['mkdir', '-p', folder])} && ${joinWords([...program, '--terminate', '--daemon'])}`
}

function joinWords(words: readonly string[]): string {
  return words.map((word) => quoteWord(word)).join(' ')
}
