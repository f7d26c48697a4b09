# fish completion for adec; made by python -m adec.cli.completion, do not edit
function __adec_profiles
    printf '%s\n' practice
    set -l folder ~/.local/share/adec
    set -q XDG_DATA_HOME; and set folder $XDG_DATA_HOME/adec
    set -q ADEC_HOME; and set folder $ADEC_HOME
    for file in $folder/profiles/*.toml
        basename $file .toml
    end
end
complete -c adec -n __fish_use_subcommand -l version -d 'Print the version.'
complete -c adec -n __fish_use_subcommand -l help -s h -d 'Show this message and exit.'
complete -c adec -n __fish_use_subcommand -f -a inspect -d 'Look inside a trace, a profile, a model, or a pair; or see the settings and the machine.'
complete -c adec -n '__fish_seen_subcommand_from inspect' -l pair -x -a '(__adec_profiles)' -d 'A pair by the name of its profile. Default: practice.'
complete -c adec -n '__fish_seen_subcommand_from inspect' -l small -r -F -d 'The small model: a GGUF file or a Hugging Face folder.'
complete -c adec -n '__fish_seen_subcommand_from inspect' -l large -r -F -d 'The large model.'
complete -c adec -n '__fish_seen_subcommand_from inspect' -l ctx -x -d 'Tokens of context for the memory estimate. Default: what a run reserves.'
complete -c adec -n '__fish_seen_subcommand_from inspect' -l json -d 'Print one JSON object.'
complete -c adec -n '__fish_seen_subcommand_from inspect' -l color -x -a 'auto always never' -d 'Colour the output.'
complete -c adec -n '__fish_seen_subcommand_from inspect' -l help -s h -d 'Show this message and exit.'
complete -c adec -n __fish_use_subcommand -f -a run -d 'Answer a prompt, and show which model wrote each token.'
complete -c adec -n '__fish_seen_subcommand_from run' -l file -s f -r -F -d 'Read the prompt from a file; PROMPT follows it.'
complete -c adec -n '__fish_seen_subcommand_from run' -l system -x -d 'System message, for models that take one.'
complete -c adec -n '__fish_seen_subcommand_from run' -l raw -d 'Feed the prompt as it is, without the model'\''s chat template.'
complete -c adec -n '__fish_seen_subcommand_from run' -l pair -x -a '(__adec_profiles)' -d 'A pair by the name of its profile. Default: practice.'
complete -c adec -n '__fish_seen_subcommand_from run' -l small -r -F -d 'The small model: a GGUF file or a Hugging Face folder.'
complete -c adec -n '__fish_seen_subcommand_from run' -l large -r -F -d 'The large model.'
complete -c adec -n '__fish_seen_subcommand_from run' -l model -s m -r -F -d 'One model alone.'
complete -c adec -n '__fish_seen_subcommand_from run' -l strategy -x -a 'plain speculate ead dyspec smartspec adaedl cascade bild fly aded recycling lookup' -d 'How to decode, such as ead, speculate or plain. Default: what the profile recommends.'
complete -c adec -n '__fish_seen_subcommand_from run' -l set -x -a 'plain.model= speculate.longest= speculate.small= speculate.suffix= speculate.recycling= speculate.measure= speculate.history= ead.up= ead.down= ead.window= ead.dwell= ead.reset= ead.accept= ead.longest= dyspec.shape= dyspec.budget= dyspec.size= dyspec.threshold= dyspec.temperature= dyspec.accept= smartspec.longest= smartspec.window= smartspec.start= adaedl.gamma= adaedl.start= adaedl.target= adaedl.step= adaedl.longest= cascade.rule= cascade.alpha= cascade.drafts= cascade.accept= bild.fallback= bild.rollback= bild.longest= bild.accept= fly.window= fly.gate= fly.drafts= fly.accept= aded.iterations= aded.budget= aded.size= recycling.budget= recycling.size= lookup.least= lookup.tokens= lookup.size=' -d 'A setting of the strategy, such as ead.up=0.3. May be repeated.'
complete -c adec -n '__fish_seen_subcommand_from run' -l max-tokens -s n -x -d 'Tokens to write at most.'
complete -c adec -n '__fish_seen_subcommand_from run' -l temp -x -d 'Temperature; 0 is greedy.'
complete -c adec -n '__fish_seen_subcommand_from run' -l top-k -x -d 'Keep the K likeliest tokens; 0 is off.'
complete -c adec -n '__fish_seen_subcommand_from run' -l top-p -x -d 'Keep the likeliest tokens up to this mass; 1 is off.'
complete -c adec -n '__fish_seen_subcommand_from run' -l min-p -x -d 'Drop tokens below this share of the likeliest; 0 is off.'
complete -c adec -n '__fish_seen_subcommand_from run' -l seed -x -d 'Repeat a sampled run. Default: a new one each time.'
complete -c adec -n '__fish_seen_subcommand_from run' -l stop -x -d 'End before this text. May be repeated.'
complete -c adec -n '__fish_seen_subcommand_from run' -l json -d 'Print one JSON object with text and summary.'
complete -c adec -n '__fish_seen_subcommand_from run' -l jsonl -d 'Print one JSON event a line.'
complete -c adec -n '__fish_seen_subcommand_from run' -l plain -d 'Print the text alone, also on a terminal.'
complete -c adec -n '__fish_seen_subcommand_from run' -l trace -r -F -d 'Write every event to FILE as well.'
complete -c adec -n '__fish_seen_subcommand_from run' -l color -x -a 'auto always never' -d 'Colour the live display.'
complete -c adec -n '__fish_seen_subcommand_from run' -l sanitize -d 'Replace control characters in piped text too.'
complete -c adec -n '__fish_seen_subcommand_from run' -l quiet -s q -d 'Nothing on stderr but errors.'
complete -c adec -n '__fish_seen_subcommand_from run' -l verbose -s v -d 'Show the backend'\''s log.'
complete -c adec -n '__fish_seen_subcommand_from run' -l ctx -x -d 'Tokens of context to reserve. Default: the model'\''s own, at most 8192.'
complete -c adec -n '__fish_seen_subcommand_from run' -l threads -x -d 'Threads for one token. Default: the physical cores.'
complete -c adec -n '__fish_seen_subcommand_from run' -l batch-threads -x -d 'Threads for several tokens. Default: as --threads.'
complete -c adec -n '__fish_seen_subcommand_from run' -l gpu-layers -x -d 'Layers on the GPU (GGUF); -1 for all.'
complete -c adec -n '__fish_seen_subcommand_from run' -l mmap -l no-mmap -d 'Map the weights instead of reading them (GGUF).'
complete -c adec -n '__fish_seen_subcommand_from run' -l device -x -d 'cpu, cuda, cuda:1 or mps (folders). Default: cuda when there is one.'
complete -c adec -n '__fish_seen_subcommand_from run' -l dtype -x -a 'float32 bfloat16 float16' -d 'Number format (folders). Default: float32 on the CPU.'
complete -c adec -n '__fish_seen_subcommand_from run' -l help -s h -d 'Show this message and exit.'
