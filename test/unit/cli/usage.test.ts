import type { Command } from 'commander'
import { expect, onTestFinished, test, vi } from 'vitest'
import { buildProgram } from '../../../src/cli/program.js'

/** Runs an invalid command line in this process. Returns what it prints on stderr. */
async function misuse(...words: string[]): Promise<string> {
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  onTestFinished(() => void write.mockRestore())
  const error = await buildProgram()
    .parseAsync(words, { from: 'user' })
    .catch((error: unknown) => error)
  const printed = write.mock.calls.map(([text]) => text).join('')
  write.mockRestore()
  expect(error).toMatchObject({ name: 'CommanderError', exitCode: 1 })
  return printed
}

test('`withvm run` and `boot` without an image show the usage and the images', async () => {
  for (const name of ['run', 'boot']) {
    const text = await misuse(name)
    expect(text).toMatch(new RegExp(`^error: missing image\n\nUsage: withvm ${name} \\[options\\] <image>`))
    expect(text).toContain('\nImages: tiny, debian, ')
    expect(text).toContain(`Run \`withvm ${name} --help\` for details.`)
  }
})

test('`withvm run` without a command shows the command for a shell', async () => {
  expect(await misuse('run', 'tiny')).toContain('For a shell: withvm boot tiny')
  expect(await misuse('run', 'tiny', '--')).toContain('error: missing command')
})

test('an option after the image, which is not a command, is rejected', async () => {
  expect(await misuse('run', 'tiny', '-m', '1G', '--', 'true')).toContain(
    "error: option '-m' after the image: options of withvm precede the image",
  )
  expect(await misuse('ssh', 'web', '-l', 'root')).toContain("error: option '-l' after the name")
})

test('a group of commands rejects an unknown name and suggests a similar one', async () => {
  expect(await misuse('images', 'prun')).toBe("error: unknown command 'prun'\n(Did you mean prune?)\n")
  expect(await misuse('templates', 'whatever')).toBe("error: unknown command 'whatever'\n")
})

test('invalid values of flags are rejected in terms of the flags', async () => {
  expect(await misuse('run', '--accel', 'xen', 'tiny', 'true')).toContain(
    "option '--accel <name>' argument 'xen' is invalid. Allowed choices are auto, kvm, tcg.",
  )
  expect(await misuse('logs', '-n', 'all', 'web')).toContain('Specify a number of lines, 1 or more.')
  expect(await misuse('cp', 'a')).toContain('error: missing target')
  expect(await misuse('stop')).toContain('error: missing name, or --all')
  expect(await misuse('stop', '--all', 'web')).toContain('error: names together with --all')
})

test('each command has examples and, if it prints a report, `--json`', () => {
  const leaves = (command: Command): Command[] =>
    command.commands.length === 0 ? [command] : [command, ...command.commands.flatMap(leaves)]
  const named = (wanted: (command: Command) => boolean) =>
    leaves(buildProgram())
      .filter(wanted)
      .map((command) => command.name())
  const helpOf = (command: Command) => {
    const parts: string[] = []
    command.configureOutput({ writeOut: (part) => void parts.push(part) }).outputHelp()
    return parts.join('')
  }
  expect(named((command) => !helpOf(command).includes('Examples:'))).toEqual([
    // The hidden command, and commands whose usage says it all.
    ...['ls', 'rm', 'ls', 'rm', 'prune', 'complete'],
  ])
  expect(named((command) => !command.options.some(({ long }) => long === '--json'))).toEqual([
    ...[
      'withvm',
      'run',
      'boot',
      'ssh',
      'cp',
      'logs',
      'console',
      'path',
      'init',
      'setup',
      'completion',
      'complete',
    ],
  ])
})
