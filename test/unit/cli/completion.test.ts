import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { listCandidates } from '../../../src/cli/completion/candidates.js'
import { SCRIPTS } from '../../../src/cli/completion/scripts.js'
import { sourceOf } from '../../../src/cli/completion/sources.js'
import { buildProgram } from '../../../src/cli/program.js'
import { buildCli } from '../../support/built-cli.js'
import { ownEnv } from '../../support/own-env.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const MAIN = new URL('../../../dist/src/cli/main.js', import.meta.url).pathname

beforeAll(buildCli)

/** Returns the completed words, without descriptions. */
async function complete(...words: string[]): Promise<string[]> {
  return (await listCandidates(buildProgram(), words)).map((line) => line.split('\t', 1)[0] as string)
}

test('commands, options and their values are completed', async () => {
  expect(await complete('st')).toEqual(['stop'])
  expect(await complete('images', 'p')).toEqual(['pull', 'path', 'prune'])
  expect(await complete('run', '--mem')).toEqual(['--memory'])
  expect(await complete('run', '--accel', '')).toEqual(['auto', 'kvm', 'tcg'])
  expect(await complete('run', '--accel=t')).toEqual(['--accel=tcg'])
  expect(await complete('completion', '')).toEqual(['bash', 'zsh', 'fish'])
  expect(await complete('list', 'm')).toEqual(['machines'])
  expect(await complete('stop', '--')).toEqual(expect.arrayContaining(['--all', '--json', '--verbose']))
})

test('images are completed by recipes and files, up to the command of the guest', async () => {
  expect(await complete('run', '-m', '1G', 'ti')).toEqual(['tiny', ':files'])
  expect(await complete('boot', './')).toEqual([':files'])
  expect(await complete('run', '--identity', '')).toEqual([':files'])
  expect(await complete('run', 'tiny', '--mem')).toEqual([])
  expect(await complete('run', 'tiny', '')).toEqual([])
  expect(await complete('run', '--', 'ti')).toEqual(['tiny', ':files'])
})

test('cached images and templates are completed by name, each once', async () => {
  const cache = ownTmpdir()
  ownEnv({ WITHVM_CACHE: cache })
  for (const name of ['images/tiny-1', 'images/tiny-2', 'images/.users', 'templates/web-1'])
    mkdirSync(join(cache, name), { recursive: true })
  expect((await complete('images', 'rm', '')).sort()).toEqual(['tiny-1', 'tiny-2'])
  expect(await complete('images', 'rm', 'tiny-1', '')).toEqual(['tiny-2'])
  expect(await complete('templates', 'rm', 'w')).toEqual(['web-1'])
})

/** Arguments and values of options that are free text. */
const FREE_TEXT = [
  ...['what', 'device', 'command', 'url', 'words'],
  ...['format', 'sha256', 'sha512', 'from', 'memory', 'cpus', 'cpu', 'machine', 'run-as', 'hostfwd'],
  ...['append', 'timeout', 'user', 'lines', 'max-size'],
]

test('each argument and each value of an option has a source of candidates, or is free text', () => {
  const visit = (command: Command): string[] => [
    ...[...command.registeredArguments, ...command.options.filter(({ required }) => required)]
      .filter((of) => of.argChoices === undefined && sourceOf(command, of).length === 0)
      .map((of) => of.name()),
    ...command.commands.flatMap(visit),
  ]
  expect(visit(buildProgram()).filter((name) => !FREE_TEXT.includes(name))).toEqual([])
})

/** Writes a program `withvm` and files in a folder. Returns the folder. */
function makeProject(): string {
  const dir = join(ownTmpdir(), 'a project')
  mkdirSync(join(dir, 'tools'), { recursive: true })
  writeFileSync(join(dir, 'bin'), '')
  writeFileSync(join(dir, 'tiny disk.qcow2'), '')
  const program = `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`
  writeFileSync(join(dir, 'withvm'), program, { mode: 0o755 })
  return dir
}

test('the script for bash completes words, and no text of the command line is executed', async () => {
  const dir = makeProject()
  writeFileSync(join(dir, 'script'), SCRIPTS.bash)
  const source = `
    . ./script
    compopt() { echo "compopt $*"; }
    for words in "withvm sto" "withvm run ti" "withvm run --accel t" "withvm ssh \\$(touch executed)"; do
      COMP_WORDS=($words); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _withvm; printf '%s\\n' "\${COMPREPLY[@]}"
    done`
  const env = { PATH: `${dir}:${process.env.PATH}` }
  const { stdout } = await execa('bash', ['-c', source], { cwd: dir, env })
  expect(stdout.split('\n')).toEqual(['stop', 'tiny', 'tiny\\ disk.qcow2', 'tcg', ''])
  expect(existsSync(join(dir, 'executed'))).toBe(false)
})
