from deployments.experts.simulation.answers import Answer, Recorded, Template


def test_the_parts_of_an_answer_are_the_answer():
    for tokens in (1, 3, 7, 40):
        answer = Answer("a recorded answer", tokens)
        assert "".join(answer.part(place, place + 1) for place in range(tokens)) == answer.text


def test_the_first_token_has_text_where_there_are_more_tokens_than_characters():
    parts = [Answer("42", 7).part(place, place + 1) for place in range(7)]
    assert parts[0] == "4"
    assert "".join(parts) == "42"


def test_tokens_are_four_characters_and_at_least_one():
    assert Answer.of("12345").tokens == 2
    assert Answer.of("").tokens == 1
    assert Answer.of("12345", 9).tokens == 9


def test_cut_and_extended():
    answer = Answer.of("twelve chars")
    assert answer.cut(2) == Answer("twelve c", 2)
    longer = answer.extended(10)
    assert longer.tokens == 10
    assert longer.text.startswith("twelve chars twelve chars")
    assert len(longer.text) == 40


def test_an_empty_answer_can_be_extended():
    assert Answer.of("").extended(5).tokens == 5


def test_a_template_holds_the_prompt():
    assert Template("you said {prompt}").answer("hello", 0).text == "you said hello"


def test_recorded_answers_are_found_by_prompt():
    recorded = Recorded({"one ": [Answer.of("1"), Answer.of("I")], "two": [Answer.of("2")]})
    assert recorded.answer(" one", 0).text == "1"
    assert recorded.answer("one", 1).text == "I"
    assert recorded.answer("one", 2).text == "1"


def test_unknown_prompts_get_the_same_answer_every_time_and_not_all_the_same():
    recorded = Recorded({str(number): [Answer.of(str(number))] for number in range(50)})
    given = {recorded.answer(f"what is {number}?", 0).text for number in range(100)}
    assert len(given) > 20
    assert recorded.answer("what is 7?", 0) == recorded.answer("what is 7?", 0)
