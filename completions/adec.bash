# bash completion for adec; made by python -m adec.cli.completion, do not edit
_adec_profiles() {
    local file folder="${ADEC_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/adec}"/profiles
    printf "%s\n" practice
    for file in "$folder"/*.toml; do [ -e "$file" ] && basename "$file" .toml; done
}
_adec_models() {
    local name file="${ADEC_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/adec}"/listing/names typed="${word%"${word##*:}"}"
    COMPREPLY=($(compgen -f -- "$cur"))
    while IFS= read -r name; do
        [[ $name == "$word"* && $name =~ ^[A-Za-z0-9._/:+@-]+$ ]] &&
            COMPREPLY+=("${name#"$typed"}")
    done < <(printf "%s\n" auto practice:small practice:large practice:canvas practice:depth practice:mamba practice:small-torch practice:large-torch practice:canvas-torch practice:depth-torch practice:mamba-torch; cat "$file" 2>/dev/null)
}
_adec() {
    local cur="${COMP_WORDS[COMP_CWORD]}" word="${COMP_WORDS[COMP_CWORD]}" verb="" i
    # bash takes a:b for three words
    for ((i = COMP_CWORD; i > 1; i--)); do
        [[ ${COMP_WORDS[i]} == : || ${COMP_WORDS[i-1]} == : ]] || break
        word="${COMP_WORDS[i-1]}$word"
    done
    local prev="${COMP_WORDS[i-1]}"
    [[ $cur != : ]] || cur=
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${COMP_WORDS[i]}" in bench|calibrate|inspect|run)
            verb="${COMP_WORDS[i]}"; break ;;
        esac
    done
    case "$verb $prev" in
        "bench --pair") COMPREPLY=($(compgen -W "$(_adec_profiles)" -- "$cur")); return ;;
        "bench --small") _adec_models; return ;;
        "bench --large") _adec_models; return ;;
        "bench --model"|"bench -m") _adec_models; return ;;
        "bench --strategies") COMPREPLY=($(compgen -W "plain speculate ead dyspec smartspec adaedl slem tli cascade bild fly aded recycling suffix lookup layerskip del swift skip first neurons sorted exits sec ppd hidden-transfer lexical adadec iad steps threshold entropy freedave frontier learn2pd localleap prophet ccd" -- "$cur")); return ;;
        "bench --set") COMPREPLY=($(compgen -W "plain.model= speculate.longest= speculate.small= speculate.suffix= speculate.recycling= speculate.fitted= speculate.early= speculate.keep_times= ead.up= ead.down= ead.window= ead.dwell= ead.reset= ead.accept= ead.share= ead.wake= ead.start= ead.longest= dyspec.shape= dyspec.budget= dyspec.size= dyspec.threshold= dyspec.temperature= dyspec.accept= smartspec.longest= smartspec.window= smartspec.start= adaedl.gamma= adaedl.start= adaedl.target= adaedl.step= adaedl.longest= slem.longest= slem.size= tli.longest= tli.size= cascade.rule= cascade.alpha= cascade.drafts= cascade.accept= bild.fallback= bild.rollback= bild.longest= bild.accept= fly.window= fly.gate= fly.drafts= fly.accept= aded.iterations= aded.budget= aded.size= recycling.budget= recycling.size= suffix.least= suffix.longest= suffix.recycling= lookup.least= lookup.tokens= lookup.size= layerskip.exit= layerskip.length= layerskip.always= del.decay= del.longest= swift.longest= swift.window= skip.speedup= first.threshold= first.control= neurons.threshold= neurons.control= sorted.depth= sorted.threshold= sorted.first= sorted.every= sorted.control= exits.threshold= exits.first= exits.control= exits.depth= sec.exit= sec.stop= sec.control= sec.depth= ppd.accept= ppd.size= ppd.budget= ppd.threshold= ppd.alpha= hidden-transfer.budget= hidden-transfer.top= hidden-transfer.carry= lexical.form= lexical.sure= lexical.size= lexical.pads= adadec.threshold= adadec.candidates= adadec.ahead= adadec.weight= adadec.keep= adadec.model= adadec.split= iad.rounds= iad.candidates= iad.temperature= iad.full= iad.budget= iad.model= steps.canvas= steps.block= steps.cache= steps.refresh= steps.window= steps.tokens= steps.order= threshold.canvas= threshold.block= threshold.cache= threshold.refresh= threshold.window= threshold.probability= threshold.factor= entropy.canvas= entropy.block= entropy.cache= entropy.refresh= entropy.window= entropy.bound= freedave.canvas= freedave.block= freedave.drafts= freedave.width= freedave.least= freedave.order= frontier.canvas= frontier.block= frontier.cache= frontier.refresh= frontier.window= frontier.reach= frontier.run= frontier.probability= frontier.twins= learn2pd.canvas= learn2pd.block= learn2pd.cache= learn2pd.refresh= learn2pd.window= learn2pd.probability= learn2pd.end= localleap.canvas= localleap.block= localleap.cache= localleap.refresh= localleap.window= localleap.probability= localleap.near= localleap.radius= prophet.canvas= prophet.block= prophet.cache= prophet.refresh= prophet.window= prophet.early= prophet.middle= prophet.late= prophet.watched= ccd.canvas= ccd.block= ccd.cache= ccd.refresh= ccd.window= ccd.form= ccd.dynamic= ccd.width= ccd.history= ccd.entropy=" -- "$cur")); compopt -o nospace 2>/dev/null; return ;;
        "bench --exactness") COMPREPLY=($(compgen -W "rounding bitwise" -- "$cur")); return ;;
        "bench --peers") :; return ;;
        "bench --peer-path") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "bench --task") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "bench --prompts") :; return ;;
        "bench --runs") :; return ;;
        "bench --jobs") :; return ;;
        "bench --ray") :; return ;;
        "bench --system") :; return ;;
        "bench --check") COMPREPLY=($(compgen -W "noise bitwise" -- "$cur")); return ;;
        "bench --tie-gap") :; return ;;
        "bench --max-tokens"|"bench -n") :; return ;;
        "bench --temp"|"bench --temperature") :; return ;;
        "bench --top-k") :; return ;;
        "bench --top-p") :; return ;;
        "bench --min-p") :; return ;;
        "bench --seed"|"bench -s") :; return ;;
        "bench --stop") :; return ;;
        "bench --json") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "bench --csv") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "bench --html") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "bench --samples") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "bench --color") COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
        "bench --ctx"|"bench -c") :; return ;;
        "bench --threads"|"bench -t") :; return ;;
        "bench --batch-threads") :; return ;;
        "bench --gpu-layers") :; return ;;
        "bench --rpc") :; return ;;
        "bench --engine") COMPREPLY=($(compgen -W "llama torch" -- "$cur")); return ;;
        "bench --device") :; return ;;
        "bench --dtype") COMPREPLY=($(compgen -W "float32 bfloat16 float16" -- "$cur")); return ;;
        "bench --key-file") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "bench --budget-tokens") :; return ;;
        "calibrate --prompts") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "calibrate --keep") :; return ;;
        "calibrate --metric") COMPREPLY=($(compgen -W "agreement answer perplexity" -- "$cur")); return ;;
        "calibrate --confidence") :; return ;;
        "calibrate --time-limit") :; return ;;
        "calibrate --seed"|"calibrate -s") :; return ;;
        "calibrate --max-tokens"|"calibrate -n") :; return ;;
        "calibrate --fit") COMPREPLY=($(compgen -W "drop quantise exits sec first neurons filter ppd hidden-transfer lexical" -- "$cur")); return ;;
        "calibrate --form") COMPREPLY=($(compgen -W "linear feedforward mamba" -- "$cur")); return ;;
        "calibrate --leave-out") :; return ;;
        "calibrate --bits") :; return ;;
        "calibrate --jobs") :; return ;;
        "calibrate --ray") :; return ;;
        "calibrate -o"|"calibrate --output") :; return ;;
        "calibrate --check") COMPREPLY=($(compgen -W "$(_adec_profiles)" -- "$cur")); return ;;
        "calibrate --svg") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "calibrate --png") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "calibrate --ctx"|"calibrate -c") :; return ;;
        "calibrate --threads"|"calibrate -t") :; return ;;
        "calibrate --batch-threads") :; return ;;
        "calibrate --gpu-layers") :; return ;;
        "calibrate --rpc") :; return ;;
        "calibrate --engine") COMPREPLY=($(compgen -W "llama torch" -- "$cur")); return ;;
        "calibrate --device") :; return ;;
        "calibrate --dtype") COMPREPLY=($(compgen -W "float32 bfloat16 float16" -- "$cur")); return ;;
        "calibrate --key-file") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "calibrate --budget-tokens") :; return ;;
        "inspect --pair") COMPREPLY=($(compgen -W "$(_adec_profiles)" -- "$cur")); return ;;
        "inspect --small") _adec_models; return ;;
        "inspect --large") _adec_models; return ;;
        "inspect --step") :; return ;;
        "inspect --html") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "inspect --svg") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "inspect --speed") :; return ;;
        "inspect --color") COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
        "inspect --ctx") :; return ;;
        "inspect --key-file") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "inspect --rpc") :; return ;;
        "run --prompt"|"run -p") :; return ;;
        "run --file"|"run -f") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "run --system") :; return ;;
        "run --pair") COMPREPLY=($(compgen -W "$(_adec_profiles)" -- "$cur")); return ;;
        "run --small") _adec_models; return ;;
        "run --large") _adec_models; return ;;
        "run --model"|"run -m") _adec_models; return ;;
        "run --strategy") COMPREPLY=($(compgen -W "auto plain speculate ead dyspec smartspec adaedl slem tli cascade bild fly aded recycling suffix lookup layerskip del swift skip first neurons sorted exits sec ppd hidden-transfer lexical adadec iad steps threshold entropy freedave frontier learn2pd localleap prophet ccd" -- "$cur")); return ;;
        "run --set") COMPREPLY=($(compgen -W "plain.model= speculate.longest= speculate.small= speculate.suffix= speculate.recycling= speculate.fitted= speculate.early= speculate.keep_times= ead.up= ead.down= ead.window= ead.dwell= ead.reset= ead.accept= ead.share= ead.wake= ead.start= ead.longest= dyspec.shape= dyspec.budget= dyspec.size= dyspec.threshold= dyspec.temperature= dyspec.accept= smartspec.longest= smartspec.window= smartspec.start= adaedl.gamma= adaedl.start= adaedl.target= adaedl.step= adaedl.longest= slem.longest= slem.size= tli.longest= tli.size= cascade.rule= cascade.alpha= cascade.drafts= cascade.accept= bild.fallback= bild.rollback= bild.longest= bild.accept= fly.window= fly.gate= fly.drafts= fly.accept= aded.iterations= aded.budget= aded.size= recycling.budget= recycling.size= suffix.least= suffix.longest= suffix.recycling= lookup.least= lookup.tokens= lookup.size= layerskip.exit= layerskip.length= layerskip.always= del.decay= del.longest= swift.longest= swift.window= skip.speedup= first.threshold= first.control= neurons.threshold= neurons.control= sorted.depth= sorted.threshold= sorted.first= sorted.every= sorted.control= exits.threshold= exits.first= exits.control= exits.depth= sec.exit= sec.stop= sec.control= sec.depth= ppd.accept= ppd.size= ppd.budget= ppd.threshold= ppd.alpha= hidden-transfer.budget= hidden-transfer.top= hidden-transfer.carry= lexical.form= lexical.sure= lexical.size= lexical.pads= adadec.threshold= adadec.candidates= adadec.ahead= adadec.weight= adadec.keep= adadec.model= adadec.split= iad.rounds= iad.candidates= iad.temperature= iad.full= iad.budget= iad.model= steps.canvas= steps.block= steps.cache= steps.refresh= steps.window= steps.tokens= steps.order= threshold.canvas= threshold.block= threshold.cache= threshold.refresh= threshold.window= threshold.probability= threshold.factor= entropy.canvas= entropy.block= entropy.cache= entropy.refresh= entropy.window= entropy.bound= freedave.canvas= freedave.block= freedave.drafts= freedave.width= freedave.least= freedave.order= frontier.canvas= frontier.block= frontier.cache= frontier.refresh= frontier.window= frontier.reach= frontier.run= frontier.probability= frontier.twins= learn2pd.canvas= learn2pd.block= learn2pd.cache= learn2pd.refresh= learn2pd.window= learn2pd.probability= learn2pd.end= localleap.canvas= localleap.block= localleap.cache= localleap.refresh= localleap.window= localleap.probability= localleap.near= localleap.radius= prophet.canvas= prophet.block= prophet.cache= prophet.refresh= prophet.window= prophet.early= prophet.middle= prophet.late= prophet.watched= ccd.canvas= ccd.block= ccd.cache= ccd.refresh= ccd.window= ccd.form= ccd.dynamic= ccd.width= ccd.history= ccd.entropy=" -- "$cur")); compopt -o nospace 2>/dev/null; return ;;
        "run --verify") :; return ;;
        "run --tests") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "run --keep") :; return ;;
        "run --exactness") COMPREPLY=($(compgen -W "rounding bitwise" -- "$cur")); return ;;
        "run --max-tokens"|"run -n") :; return ;;
        "run --temp"|"run --temperature") :; return ;;
        "run --top-k") :; return ;;
        "run --top-p") :; return ;;
        "run --min-p") :; return ;;
        "run --seed"|"run -s") :; return ;;
        "run --stop") :; return ;;
        "run --trace") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "run --color") COMPREPLY=($(compgen -W "auto always never" -- "$cur")); return ;;
        "run --ctx"|"run -c") :; return ;;
        "run --threads"|"run -t") :; return ;;
        "run --batch-threads") :; return ;;
        "run --gpu-layers") :; return ;;
        "run --rpc") :; return ;;
        "run --engine") COMPREPLY=($(compgen -W "llama torch" -- "$cur")); return ;;
        "run --device") :; return ;;
        "run --dtype") COMPREPLY=($(compgen -W "float32 bfloat16 float16" -- "$cur")); return ;;
        "run --key-file") COMPREPLY=($(compgen -f -- "$cur")); return ;;
        "run --budget-tokens") :; return ;;
    esac
    case "$verb" in
        "") COMPREPLY=($(compgen -W "bench calibrate inspect run --version --help -h" -- "$cur")) ;;
        "bench") [[ $cur == -* ]] || { COMPREPLY=($(compgen -f -- "$cur")); return; }; COMPREPLY=($(compgen -W "--pair --small --large --model -m --strategies --set --exactness --peers --peer-path --task --prompts --runs --jobs --ray --allow-exec --system --raw --check --tie-gap --max-tokens -n --temp --temperature --top-k --top-p --min-p --seed -s --stop --escape -e --json --csv --html --samples --fresh --color --quiet -q --ctx -c --threads -t --batch-threads --gpu-layers --rpc --mmap --no-mmap --engine --device --dtype --key-file --budget-tokens --help -h" -- "$cur")) ;;
        "calibrate") [[ $cur == -* ]] || { _adec_models; return; }; COMPREPLY=($(compgen -W "--prompts --keep --metric --confidence --time-limit --seed -s --max-tokens -n --fit --form --leave-out --halves --bits --jobs --ray -o --output --check --svg --png --portable --quiet -q --ctx -c --threads -t --batch-threads --gpu-layers --rpc --mmap --no-mmap --engine --device --dtype --key-file --budget-tokens --help -h" -- "$cur")) ;;
        "inspect") [[ $cur == -* ]] || { _adec_models; return; }; COMPREPLY=($(compgen -W "--pair --small --large --step --html --svg --replay --speed --json --color --forget --ctx --key-file --devices --rpc --help -h" -- "$cur")) ;;
        "run") [[ $cur == -* ]] || { COMPREPLY=($(compgen -f -- "$cur")); return; }; COMPREPLY=($(compgen -W "--prompt -p --file -f --system --raw --special --pair --small --large --model -m --strategy --set --verify --tests --allow-exec --keep --exactness --stop-when-lost --max-tokens -n --temp --temperature --top-k --top-p --min-p --seed -s --stop --escape -e --json --jsonl --plain --trace --color --sanitize --remember --quiet -q --verbose -v --ctx -c --threads -t --batch-threads --gpu-layers --rpc --mmap --no-mmap --engine --device --dtype --key-file --budget-tokens --help -h" -- "$cur")) ;;
    esac
}
complete -o filenames -o bashdefault -F _adec adec
