import { execFileSync } from 'node:child_process'
import { fence, madeFrom } from './markdown.mjs'

const INTRO = `The package installs one command, \`withvm\`. Run it with \`npx withvm …\` in a project that depends on withvm.`

export async function cliPage({ dist }) {
  const help = (...words) =>
    execFileSync(process.execPath, [`${dist}/src/cli/main.js`, ...words, '--help'], { encoding: 'utf8' })
  const main = help()
  const commands = commandsOf(main)
  const parts = [madeFrom('the output of `--help`'), '# Commands', INTRO, fence('text', main)]
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

/** Returns the commands that a help text lists with options or arguments. Commands without either are groups. */
function commandsOf(help) {
  return [...help.matchAll(/^ {2}(\w+) (?:\[options\]|<)/gm)].map((match) => match[1])
}
