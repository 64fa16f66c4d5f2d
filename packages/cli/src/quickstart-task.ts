import { createHash } from 'node:crypto'

/** A small program to write, and what it must have printed. */
export interface Task {
  /** What a person reads. */
  readonly prompt: string
  /** What is sent when the scripted model answers: the prompt and, below it, the script. */
  readonly scripted: string
  /** Only who ran the program can know it. */
  readonly expected: string
}

/** `seed` makes the program's output one that no model can guess. */
export function quickstartTask(seed: string): Task {
  const path = '/workspace/fingerprint.sh'
  const program = ['#!/bin/sh', `echo "fingerprint: $(printf %s ${seed} | sha256sum | cut -c1-16)"`, ''].join('\n')
  const expected = createHash('sha256').update(seed).digest('hex').slice(0, 16)
  const prompt = [
    `Use the Write tool to create ${path} with exactly this content:`,
    '',
    program,
    `Then run \`sh ${path}\` with Bash and tell me, in one sentence, the fingerprint that it printed.`,
  ].join('\n')
  const script = [
    '::text I write the program first.',
    `::tool Write ${JSON.stringify({ file_path: path, content: program })}`,
    '::next',
    '::text Now I run it.',
    `::tool Bash ${JSON.stringify({ command: `sh ${path}`, description: 'Run the program' })}`,
    '::next',
    '::text The program printed “{{result}}”.',
  ]
  return { prompt, scripted: `${prompt}\n\n${script.join('\n')}`, expected }
}
