import { execFileSync } from 'node:child_process'
import { fence, madeFrom } from './markdown.mjs'

const INTRO = `The package installs one program, \`withvm\`: \`npx withvm …\` in a project that has it.`

export async function cliPage({ dist }) {
  const help = (...words) =>
    execFileSync(process.execPath, [`${dist}/src/cli/main.js`, ...words, '--help'], { encoding: 'utf8' })
  const main = help()
  const commands = [...main.matchAll(/^ {2}(\w+) (?:\[options\]|<)/gm)].map((match) => match[1])
  const parts = [madeFrom('what the commands say with `--help`'), '# Commands', INTRO, fence('text', main)]
  for (const name of commands) parts.push(`## withvm ${name}`, fence('text', help(name)))
  return `${parts.join('\n\n')}\n`
}
