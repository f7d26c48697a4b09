"""`adec bench`: strategies and other people's decoders on the same prompts, and what is worth it.

`tasks/` has the sources of prompts, `peers/` a file for each foreign decoder. `bench_rows` finds
the rows and opens them as `decoders`; `runner` lets all rows answer a prompt, `workers` runs the
prompts, `samples` keeps the answers, `run_bench` does all of it. `totals` sums up answers, with
`statistics`; `bench_report` makes rows of figures, `verdict` and `caveats` say what they mean;
`text_report`, `html_report` and `json_csv` write them, the tables by `columns`.
"""
