import { createWriteStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { CommandResult } from '../../channel/command-result.js'
import { OpenFolder } from '../../common/files/open-folder.js'
import { streamWrittenFile } from '../../common/files/written-file.js'
import { describeNetboot } from '../../net/netboot-text.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from '../session/session.js'
import { ensureFolder } from '../workspace/workspace.js'
import { describeGuest } from './diagnostics.js'
import { commandLineByHand } from './manual-command.js'
import { Redaction } from './redaction.js'
import { dumpMemory, type FileIn, MOST_PICTURE_BYTES, takeScreenshot } from './screenshot.js'

/** What is asked of a guest that still answers, with the file for the answer. */
const QUESTIONS = {
  'dmesg.txt': 'dmesg',
  'journal.txt': 'journalctl --boot --no-pager --output=short-precise --lines=10000',
} as const

/** Upper bound of what a dump has beside the guest's RAM (video memory, firmware), and of what a log has beside its limit. */
const MOST_OTHER_BYTES = 1024 ** 3

export interface SaveOptions {
  /** Whether the guest's memory is saved too, as `memory.elf`: as big as its RAM. @default false */
  readonly memory?: boolean
}

interface LogSources extends SaveOptions {
  /** The newest power-on; undefined when QEMU did not come to one. */
  readonly session: Session | undefined
  /** What was seen of its display, by names of files. @default nothing */
  readonly pictures?: ReadonlyMap<string, Buffer>
  /** Runs a command in the guest; left out where nothing in it answers. Bounds itself. */
  readonly ask?: ((command: string) => Promise<CommandResult>) | undefined
}

/**
 * Saves what is known of a guest to a folder of its name, since its own folder is removed. What cannot be had is
 * left out; keys and passwords that withvm knows are blotted out. Gives the folder.
 */
export async function saveLogs(machine: Machine, parent: string, sources: LogSources): Promise<string> {
  const folder = resolve(parent, `${machine.spec.name}-${machine.id}`)
  await ensureFolder(folder)
  const redaction = new Redaction(machine)
  const write = (name: string, text: string) => writeFile(join(folder, name), redaction.apply(text))
  const { session, ask, pictures = new Map() } = sources
  const answers = Object.entries(QUESTIONS).map(async ([name, command]) => {
    const answer = await ask?.(command).catch(() => undefined)
    if (answer?.exitCode === 0 && answer.stdout !== '') await write(name, answer.stdout)
  })
  const looks = async () => {
    if (session === undefined || session.qmp.isClosed) return
    const { qmp } = session
    await haveWritten(machine, folder, {
      name: 'screenshot.png',
      mostBytes: MOST_PICTURE_BYTES,
      write: (file) => takeScreenshot(qmp, file),
    })
    if (sources.memory !== true) return
    const { memoryBytes } = machine.spec
    await haveWritten(machine, folder, {
      name: 'memory.elf',
      mostBytes: 2 * memoryBytes + MOST_OTHER_BYTES,
      write: (file) => dumpMemory(qmp, file, memoryBytes),
    })
  }
  await Promise.all([...answers, looks(), copySerialLog(machine, join(folder, 'serial.log'), redaction)])
  const guest = session === undefined ? '' : `${describeGuest(machine, session)}\n`
  await Promise.all([
    ...[...pictures].map(([name, png]) => writeFile(join(folder, name), png)),
    write('guest.txt', guest),
    write('qemu.log', machine.process?.stderr ?? ''),
    write('qmp.log', machine.transcripts.qmp.text),
    write('commands.log', machine.transcripts.commands.text),
    ...(machine.netboot === undefined
      ? []
      : [write('netboot.txt', `${describeNetboot(machine.netboot, { all: true })}\n`)]),
    write('command-line.txt', `${commandLineByHand(machine)}\n`),
  ])
  return folder
}

/** A file that QEMU writes, and the most that is copied of it. */
interface WrittenFile {
  readonly name: string
  readonly mostBytes: number
  readonly write: (file: FileIn) => Promise<void>
}

/** Has QEMU write a file to the folder. A QEMU of another user cannot reach the folder: it writes to its own, from which the file is copied. */
async function haveWritten(
  { host, workspace }: Machine,
  folder: string,
  { name, mostBytes, write }: WrittenFile,
): Promise<void> {
  if (host.user === undefined) {
    const own = await OpenFolder.make(folder)
    return write({ folder: own, name }).finally(() => own.close())
  }
  try {
    await write({ folder: workspace.folder, name })
    const written = await streamWrittenFile(workspace.path(name), mostBytes)
    await pipeline(written, createWriteStream(join(folder, name), { mode: 0o600 }))
  } catch {
    // It was not written, as by a guest without a display.
  } finally {
    await workspace.folder.remove(name)
  }
}

/** The log on disk is complete; where it is not (a full disk) or has been removed, what this process still has of it is saved. */
async function copySerialLog(machine: Machine, path: string, redaction: Redaction): Promise<void> {
  try {
    const { logFailure } = machine.serial
    if (logFailure !== undefined) throw logFailure
    const mostBytes = 2 * machine.spec.limits.consoleBytes + MOST_OTHER_BYTES // a clone's log begins with that of its template
    const log = await streamWrittenFile(machine.workspace.path('serial.log'), mostBytes)
    await pipeline(log, redaction.stream(), createWriteStream(path))
  } catch {
    await writeFile(path, redaction.apply(machine.serial.text))
  }
}
