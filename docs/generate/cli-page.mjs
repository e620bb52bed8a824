import { execFileSync } from 'node:child_process'
import { fence, madeFrom } from './markdown.mjs'

const INTRO = `The package installs one program, \`withvm\`: \`npx withvm …\` in a project that has it.`

export async function cliPage({ dist }) {
  const help = (...words) =>
    execFileSync(process.execPath, [`${dist}/src/cli/main.js`, ...words, '--help'], { encoding: 'utf8' })
  const main = help()
  const commands = commandsOf(main)
  const parts = [madeFrom('what the commands say with `--help`'), '# Commands', INTRO, fence('text', main)]
  for (const name of commands) parts.push(`## withvm ${name}`, fence('text', help(name)))
  for (const group of main.matchAll(/^ {2}(\w+) {2,}\S/gm)) {
    const text = help(group[1])
    parts.push(`## withvm ${group[1]}`, fence('text', text))
    for (const name of commandsOf(text)) {
      parts.push(`### withvm ${group[1]} ${name}`, fence('text', help(group[1], name)))
    }
  }
  return `${parts.join('\n\n')}\n`
}

/** The commands that a help lists with options or arguments; without, they are groups of commands. */
function commandsOf(help) {
  return [...help.matchAll(/^ {2}(\w+) (?:\[options\]|<)/gm)].map((match) => match[1])
}
