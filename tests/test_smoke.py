def test_build(built):
    pass
